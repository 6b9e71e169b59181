#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/openai/multipart.hpp"
#include "request_context.hpp"

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;

Failure too_large(std::uint64_t limit)
{
    return Failure(Errc::request_too_large, Origin::client)
        .say("The request body is larger than the limit of " + std::to_string(limit) + " bytes.");
}

/// Adds bytes of the body to what is held, under both limits.
core::Result<void> hold(RequestContext& context, const std::vector<std::string_view>& runs)
{
    const auto limit = context.policies->settings.max_body_bytes;
    for (const auto run : runs) {
        if (context.body.size() + run.size() > limit) {
            return too_large(limit);
        }
        if (!context.held.grow(run.size())) {
            return Failure(Errc::overloaded, Origin::self, "max_buffered_bytes reached");
        }
        context.body.append(run);
    }
    return {};
}

/// Keeps the beginning of the body for the log, and what must not be shown of it.
void begin_logging(RequestContext& context, std::uint64_t most)
{
    auto& exchange = context.exchange;
    exchange.bodies = std::make_unique<telemetry::LoggedBodies>(static_cast<std::size_t>(most));
    exchange.bodies->add_request(context.body);
    const auto& fields = exchange.head().fields;
    for (const auto* name : {"x-api-key", "api-key"}) {
        exchange.bodies->hide(core::Secret(std::string(fields.get(name))));
    }
    if (const auto token = auth::bearer_token(fields.get(http::FieldName::authorization))) {
        exchange.bodies->hide(core::Secret(std::string(*token)));
    }
}

}  // namespace

core::Result<bool> hold_what_came(RequestContext& context)
{
    auto& exchange = context.exchange;
    const auto& head = exchange.head();
    const auto limit = context.policies->settings.max_body_bytes;
    const auto encoding = head.fields.get(FieldName::content_encoding);
    if (!encoding.empty() && !core::iequals(encoding, "identity")) {
        exchange.keep_alive = false;
        return Failure(Errc::unsupported_encoding, Origin::client, std::string(encoding));
    }
    if (head.framing.kind == http::Framing::Kind::length) {
        if (head.framing.length > limit) {
            return too_large(limit);
        }
        // The room is what the parser may read beyond the end.
        context.body.reserve(static_cast<std::size_t>(head.framing.length) + 64);
    }
    std::vector<std::string_view> runs;
    for (;;) {
        const auto taken = exchange.take_body(runs);
        if (!taken) {
            return taken.error();
        }
        auto kept = hold(context, runs);
        if (!kept) {
            return kept.error();
        }
        if (exchange.body_done() || !*taken) {
            return exchange.body_done();
        }
    }
}

core::Task<core::Result<void>> hold_rest(RequestContext& context)
{
    auto& exchange = context.exchange;
    std::vector<std::string_view> runs;
    while (!exchange.body_done()) {
        auto got = co_await exchange.read_body(runs, context.total);
        if (!got) {
            co_return got;
        }
        auto kept = hold(context, runs);
        if (!kept) {
            co_return kept;
        }
    }
    co_return core::Result<void>();
}

core::Result<void> understand_body(RequestContext& context)
{
    context.exchange.drop_body();  // it has been copied: a long reply must not keep the read buffer
    context.body_is_held = true;
    if (const auto most = context.policies->settings.logged_body_bytes; most != 0) {
        begin_logging(context, most);
    }
    auto facts = openai::read_facts(context.body);
    if (!facts) {
        return facts.error();
    }
    context.facts = std::move(*facts);
    context.exchange.record.stream = context.facts->stream;
    return {};
}

std::size_t body_pieces(const RequestContext& context, std::span<std::string_view> out) noexcept
{
    const std::string_view body = context.body;
    std::size_t count = 0;
    std::size_t from = 0;
    for (const auto& splice : context.splices) {
        out[count++] = body.substr(from, splice.offset - from);
        out[count++] = splice.text;
        from = splice.offset + splice.remove;
    }
    out[count++] = body.substr(from);
    return count;
}

std::uint64_t spliced_growth(const RequestContext& context) noexcept
{
    std::uint64_t growth = 0;
    for (const auto& splice : context.splices) {
        growth += splice.text.size() - splice.remove;
    }
    return growth;
}

core::Task<core::Result<bool>> read_ahead(RequestContext& context, std::size_t limit)
{
    auto& exchange = context.exchange;
    if (exchange.body_done() || context.body.size() >= limit) {
        co_return false;
    }
    std::vector<std::string_view> runs;
    auto got = co_await exchange.read_body(runs, context.total);
    if (!got) {
        co_return got.error();
    }
    for (const auto run : runs) {
        context.body.append(run);
    }
    co_return true;
}

core::Task<core::Result<std::string>> sniff_multipart_model(RequestContext& context)
{
    const auto type = context.exchange.head().fields.get(FieldName::content_type);
    for (;;) {
        const auto found = openai::multipart_model(type, context.body);
        if (found.state == openai::MultipartModel::State::found) {
            context.model_at = ByteRange{found.offset, found.value.size()};
            co_return found.value;
        }
        context.model_out_of_reach = context.body.size() >= openai::kMaxMultipartPrefix;
        if (found.state == openai::MultipartModel::State::absent) {
            co_return std::string();
        }
        const auto more = co_await read_ahead(context, openai::kMaxMultipartPrefix);
        if (!more) {
            co_return more.error();
        }
        if (!*more) {
            co_return std::string();
        }
    }
}

}  // namespace llmproxy::pipeline
