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

}  // namespace

core::Task<core::Result<void>> hold_body(RequestContext& context)
{
    auto& exchange = context.exchange;
    const auto& head = exchange.head();
    const auto limit = context.policies->settings.max_body_bytes;
    const auto encoding = head.fields.get(FieldName::content_encoding);
    if (!encoding.empty() && !core::iequals(encoding, "identity")) {
        exchange.keep_alive = false;
        co_return Failure(Errc::unsupported_encoding, Origin::client, std::string(encoding));
    }
    if (head.framing.kind == http::Framing::Kind::length) {
        if (head.framing.length > limit) {
            co_return too_large(limit);
        }
        context.body.reserve(static_cast<std::size_t>(head.framing.length) + 64);
    }
    std::vector<std::string_view> runs;
    for (;;) {
        auto got = co_await exchange.read_body(runs, context.total);
        if (!got) {
            co_return got;
        }
        for (const auto run : runs) {
            if (context.body.size() + run.size() > limit) {
                co_return too_large(limit);
            }
            if (!context.held.grow(run.size())) {
                co_return Failure(Errc::overloaded, Origin::self, "max_buffered_bytes reached");
            }
            context.body.append(run);
        }
        if (exchange.body_done()) {
            break;
        }
    }
    context.body_is_held = true;
    auto facts = openai::read_facts(context.body);
    if (!facts) {
        co_return facts.error();
    }
    context.facts = std::move(*facts);
    exchange.record.stream = context.facts->stream;
    co_return core::Result<void>();
}

core::Task<core::Result<std::string>> sniff_multipart_model(RequestContext& context)
{
    auto& exchange = context.exchange;
    const auto type = exchange.head().fields.get(FieldName::content_type);
    std::vector<std::string_view> runs;
    for (;;) {
        const auto found = openai::multipart_model(type, context.body);
        if (found.state == openai::MultipartModel::State::found) {
            co_return found.value;
        }
        const bool enough = found.state == openai::MultipartModel::State::absent ||
                            exchange.body_done() ||
                            context.body.size() >= openai::kMaxMultipartPrefix;
        if (enough) {
            co_return std::string();
        }
        auto got = co_await exchange.read_body(runs, context.total);
        if (!got) {
            co_return got.error();
        }
        for (const auto run : runs) {
            context.body.append(run);
        }
    }
}

}  // namespace llmproxy::pipeline
