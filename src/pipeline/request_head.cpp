#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "request_context.hpp"

#include <algorithm>

namespace llmproxy::pipeline {
namespace {

using http::FieldName;

/// Whether the reply is read beside its relay, which a coding would hide.
bool wants_plain_reply(const RequestContext& context) noexcept
{
    return openai::is_inference(context.route) || context.tells_ids;
}

/// Fields of the client that never go on as they are: ours to write, or credentials.
bool is_replaced(const http::Field& field, const RequestContext& context)
{
    switch (field.id) {
    case FieldName::host:
    case FieldName::content_length:
    case FieldName::expect:
    case FieldName::via:
    case FieldName::authorization: return true;
    case FieldName::accept_encoding: return wants_plain_reply(context);
    default: break;
    }
    const auto same = [&](std::string_view name) { return core::iequals(name, field.name); };
    const bool traced = context.exchange.record.trace != nullptr;
    if (traced && (same("traceparent") || same("tracestate"))) {
        return true;
    }
    if (same("x-request-id") ||
        std::any_of(auth::kCredentialHeaders.begin(), auth::kCredentialHeaders.end(), same)) {
        return true;
    }
    const auto& own = context.backend->settings().headers;
    return std::any_of(own.begin(), own.end(),
                       [&](const auto& entry) { return same(entry.first); });
}

/// The subprotocols a client offers, without those that carry its key.
std::string without_keys(std::string_view protocols)
{
    std::string kept;
    core::for_each_item(protocols, [&](std::string_view item) {
        if (!item.starts_with(auth::kKeySubprotocolPrefix)) {
            kept.append(kept.empty() ? "" : ", ").append(item);
        }
    });
    return kept;
}

void append_framing(std::string& out, const RequestContext& context)
{
    const auto& head = context.exchange.head();
    if (context.body_is_held) {
        http::append_field(out, "Content-Length",
                           std::to_string(context.body.size() + spliced_growth(context)));
    } else if (head.framing.kind == http::Framing::Kind::length) {
        http::append_field(out, "Content-Length",
                           std::to_string(head.framing.length + spliced_growth(context)));
    } else if (head.framing.kind == http::Framing::Kind::chunked) {
        http::append_field(out, "Transfer-Encoding", "chunked");
    }
}

/// The query, with the model of the target that was chosen.
void append_query(std::string& out, const RequestContext& context)
{
    const auto query = context.target.query;
    const bool renamed = context.route == openai::Route::realtime && context.model_at &&
                         context.place != nullptr && !context.place->model.empty();
    if (!renamed) {
        core::append_all(out, "?", query);
        return;
    }
    const auto& at = *context.model_at;
    core::append_all(out, "?", query.substr(0, at.offset),
                     core::percent_encoded(context.place->model),
                     query.substr(at.offset + at.size));
}

}  // namespace

std::string compose_request_head(const RequestContext& context, const core::Secret& key)
{
    constexpr std::string_view kPrefix = "/v1";
    const auto& head = context.exchange.head();
    const auto& backend = *context.backend;
    std::string out;
    out.reserve(1000);
    core::append_all(out, head.method, " ", backend.url().path,
                     context.target.path.substr(kPrefix.size()));
    if (context.target.has_query) {
        append_query(out, context);
    }
    core::append_all(out, " HTTP/1.1\r\nHost: ", backend.url().authority, "\r\n");

    const bool named = head.fields.has(FieldName::connection);
    for (const auto& field : head.fields) {
        const bool dropped = http::is_hop_by_hop(field) || is_replaced(field, context) ||
                             (named && http::is_named_by_connection(head.fields, field));
        if (dropped) {
            continue;
        }
        if (context.upgrade && field.id == FieldName::sec_websocket_protocol) {
            const auto kept = without_keys(field.value);
            if (!kept.empty()) {
                http::append_field(out, field.name, kept);
            }
            continue;
        }
        http::append_field(out, field.name, field.value);
    }
    http::append_via(out, head.fields, context.via_name);
    http::append_field(out, "X-Request-Id", context.exchange.record.request_id);
    if (const auto& trace = context.exchange.record.trace) {
        trace->append_fields(out);
    }
    if (wants_plain_reply(context)) {
        http::append_field(out, "Accept-Encoding", "identity");
    }
    bool authorized = false;  // by the operator's own field, which is meant to take the key's place
    for (const auto& [name, value] : backend.settings().headers) {
        http::append_field(out, name, value);
        authorized = authorized || core::iequals(name, "authorization");
    }
    if (!key.empty() && !authorized) {
        core::append_all(out, "Authorization: Bearer ", key.reveal(), "\r\n");
    }
    if (context.upgrade) {
        out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    append_framing(out, context);
    out += "\r\n";
    return out;
}

}  // namespace llmproxy::pipeline
