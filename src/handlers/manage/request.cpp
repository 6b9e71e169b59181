#include "request.hpp"

#include "llmproxy/core/text.hpp"

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;

constexpr std::chrono::seconds kBodyTime{30};

Failure too_large()
{
    return Failure(Errc::request_too_large, Origin::client)
        .say("The request body is larger than the limit of " + std::to_string(kMostBody) +
             " bytes.");
}

core::Result<void> check_head(const http::RequestHead& head)
{
    const auto encoding = head.fields.get(FieldName::content_encoding);
    if (!encoding.empty() && !core::iequals(encoding, "identity")) {
        return Failure(Errc::unsupported_encoding, Origin::client, std::string(encoding));
    }
    if (head.framing.kind == http::Framing::Kind::length && head.framing.length > kMostBody) {
        return too_large();
    }
    const auto type = head.fields.get(FieldName::content_type);
    const auto media = core::trim(type.substr(0, type.find(';')));
    if (!core::iequals(media, "application/json") &&
        !core::iequals(media, "application/merge-patch+json")) {
        return Failure(Errc::unsupported_media_type, Origin::client, std::string(type));
    }
    return {};
}

core::Task<core::Result<std::string>> read_whole(http::Exchange& exchange)
{
    const auto deadline = core::Deadline::after(std::chrono::steady_clock::now(), kBodyTime);
    std::string body;
    std::vector<std::string_view> runs;
    while (!exchange.body_done()) {
        auto got = co_await exchange.read_body(runs, deadline);
        if (!got) {
            co_return got.error();
        }
        for (const auto run : runs) {
            if (body.size() + run.size() > kMostBody) {
                co_return too_large();
            }
            body.append(run);
        }
    }
    exchange.drop_body();
    co_return body;
}

}  // namespace

core::Task<core::Result<void>> read_request(http::Exchange& exchange, const Route& route,
                                            Call& call)
{
    if (route.request == nullptr) {
        co_return core::Result<void>();
    }
    call.body = Json::object();
    if (route.body_optional && exchange.body_done()) {
        co_return core::Result<void>();
    }
    auto checked = check_head(exchange.head());
    if (!checked) {
        co_return checked;
    }
    auto body = co_await read_whole(exchange);
    if (!body) {
        co_return body.error();
    }
    auto parsed = parse_json(*body);
    if (!parsed) {
        co_return parsed.error();
    }
    call.body = std::move(*parsed);
    co_return conform(call.body, *route.request);
}

}  // namespace llmproxy::handlers::manage
