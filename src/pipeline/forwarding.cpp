#include "llmproxy/pipeline/forwarding.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/http/tunnel.hpp"
#include "reply.hpp"
#include "request_context.hpp"
#include "upload.hpp"

#include <array>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;
using Verdict = net::Watchdog::Verdict;

/// What one connection came to.
enum class Next : std::uint8_t { answered, once_more };

bool carries_own_token(const http::Field& field, const auth::Authenticator& authenticator)
{
    if (field.id == FieldName::authorization) {
        return authenticator.carries_own_token(field.value);
    }
    const bool bare =
        core::iequals(field.name, "x-api-key") || core::iequals(field.name, "api-key");
    return bare && authenticator.is_own_token(field.value);
}

std::string compose_head(const RequestContext& context, const ForwardRequest& request)
{
    const auto& head = context.exchange.head();
    const auto& authenticator = *context.policies->authenticator;
    std::string out;
    out.reserve(1024);
    out.append(head.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
    http::append_field(out, "Host", request.host_field);
    const auto& trace = context.exchange.record.trace;
    const bool named = head.fields.has(FieldName::connection);
    for (const auto& field : head.fields) {
        const bool ours = field.id == FieldName::host || field.id == FieldName::content_length ||
                          field.id == FieldName::expect || field.id == FieldName::via ||
                          core::iequals(field.name, "x-request-id") ||
                          (trace && (core::iequals(field.name, "traceparent") ||
                                     core::iequals(field.name, "tracestate")));
        const bool counted = field.id == FieldName::max_forwards && request.max_forwards;
        const bool dropped = ours || counted || http::is_hop_by_hop(field) ||
                             (named && http::is_named_by_connection(head.fields, field)) ||
                             carries_own_token(field, authenticator);
        if (!dropped) {
            http::append_field(out, field.name, field.value);
        }
    }
    http::append_via(out, head.fields, context.via_name);
    http::append_field(out, "X-Request-Id", context.exchange.record.request_id);
    if (trace) {
        trace->append_fields(out);
    }
    if (request.max_forwards) {
        http::append_field(out, "Max-Forwards", std::to_string(*request.max_forwards));
    }
    if (context.upgrade) {
        http::append_field(out, "Connection", "Upgrade");
        http::append_field(out, "Upgrade", head.fields.get(FieldName::upgrade));
    }
    if (context.awaits_continue) {
        http::append_field(out, "Expect", "100-continue");
    }
    if (head.framing.kind == http::Framing::Kind::length) {
        http::append_field(out, "Content-Length", std::to_string(head.framing.length));
    } else if (head.framing.kind == http::Framing::Kind::chunked) {
        http::append_field(out, "Transfer-Encoding", "chunked");
    }
    out += "\r\n";
    return out;
}

class Forwarding {
public:
    Forwarding(RequestContext& context, const ForwardRequest& request, upstream::Lease& lease)
        : context_(context), request_(request), lease_(lease), upload_(context, lease.stream())
    {
    }

    core::Task<core::Result<Next>> run()
    {
        auto result = co_await talk();
        if (context_.exchange.tunnel) {
            co_return result;  // the connection is no longer the lease's
        }
        co_await upload_.join();
        if (!upload_.complete()) {
            context_.exchange.keep_alive = false;
        }
        co_return result;
    }

    /// The attempt is over, as the trace sees it.
    void note_end(telemetry::TraceAttempt& into, const core::Result<Next>& result) const
    {
        const auto& record = context_.exchange.record;
        into.ended = std::chrono::steady_clock::now();
        into.upstream = record.upstream;
        into.status = static_cast<std::uint16_t>(record.status);
        into.answered = true;
        into.outcome = !result                     ? result.error().info().code
                       : *result == Next::answered ? record.outcome
                                                   : "upstream_reset";
        const bool headed = head_at_ != core::SteadyTime{};
        into.note("send", began_, asked_);
        into.note("first_byte", asked_, headed ? head_at_ : into.ended);
        if (headed) {
            into.note("relay", head_at_, into.ended);
        }
    }

private:
    core::Task<core::Result<Next>> talk()
    {
        auto& exchange = context_.exchange;
        auto& watchdog = exchange.watchdog();
        began_ = std::chrono::steady_clock::now();
        const auto head = compose_head(context_, request_);
        watchdog.expect(core::Deadline::after(std::chrono::steady_clock::now(),
                                              context_.policies->settings.write_timeout)
                            .min(context_.total));
        auto sent = co_await lease_.stream().write(head);
        const auto asked = std::chrono::steady_clock::now();
        asked_ = asked;
        if (!sent) {
            co_return died(Failure(Errc::upstream_reset, Origin::upstream, "sending the request",
                                   sent.error()));
        }
        if (has_no_body(exchange.head())) {
            watchdog.watch_client(true);
        }
        if (!context_.awaits_continue) {
            upload_.start();
        }
        ReplyHead reply;
        auto got = co_await read_reply_head(context_, lease_, upload_, reply);
        context_.upstream_time = std::chrono::steady_clock::now() - asked;
        if (!got) {
            const bool untouched = got.error().errc() == Errc::upstream_reset && !reply.any_byte;
            co_return untouched ? died(got.error()) : core::Result<Next>(got.error());
        }
        head_at_ = asked + context_.upstream_time;
        exchange.record.times.upstream_first_byte = context_.upstream_time;
        if (reply.head.status == 101) {
            co_return co_await tunnel(reply);
        }
        Relay relay(context_, lease_, upload_, reply, false);
        auto relayed = co_await relay.run();
        if (!relayed) {
            co_return relayed.error();
        }
        co_return Next::answered;
    }

    core::Task<core::Result<Next>> tunnel(const ReplyHead& reply)
    {
        auto& exchange = context_.exchange;
        auto passed = co_await pass_upgrade(context_, reply);
        if (!passed) {
            co_return passed.error();
        }
        exchange.tunnel = std::make_unique<http::PendingTunnel>(
            std::move(lease_.stream()), std::move(lease_.buffer()), request_.tunnel_idle);
        exchange.tunnel->progress_interval = request_.progress_interval;
        co_return Next::answered;
    }

    /// The connection broke before anything of a reply came.
    core::Result<Next> died(Failure failure) const
    {
        switch (context_.exchange.watchdog().verdict()) {
        case Verdict::expired:
            return Failure(Errc::upstream_timeout, Origin::upstream, failure.detail());
        case Verdict::client_gone:
            return Failure(Errc::client_gone, Origin::client, failure.detail());
        case Verdict::stopped: return Failure(Errc::cancelled, Origin::self, failure.detail());
        case Verdict::none: break;
        }
        return lease_.reused() ? core::Result<Next>(Next::once_more) : core::Result<Next>(failure);
    }

    RequestContext& context_;
    const ForwardRequest& request_;
    upstream::Lease& lease_;
    Upload upload_;
    core::SteadyTime began_{};
    core::SteadyTime asked_{};
    core::SteadyTime head_at_{};
};

}  // namespace

core::Task<core::Result<void>> forward_request(http::Exchange& exchange,
                                               std::shared_ptr<const Policies> policies,
                                               const std::string& via_name,
                                               const ForwardRequest& request,
                                               OriginConnections& connections)
{
    RequestContext context(exchange, std::move(policies), via_name);
    const auto& settings = context.policies->settings;
    const auto& head = exchange.head();
    auto& watchdog = exchange.watchdog();
    context.total = core::Deadline::after(exchange.started, settings.total_timeout);
    context.forward = true;
    context.upgrade = head.version == 11 && has_no_body(head) &&
                      head.fields.lists(FieldName::connection, "upgrade") &&
                      head.fields.has(FieldName::upgrade);
    // A body that is there already needs no leave.
    context.awaits_continue =
        head.expect_continue && !has_no_body(head) && exchange.buffer().empty();
    if (head.framing.kind == http::Framing::Kind::length &&
        head.framing.length > settings.max_upload_bytes) {
        co_return Failure(Errc::request_too_large, Origin::client)
            .say("The request body is larger than the limit of " +
                 std::to_string(settings.max_upload_bytes) + " bytes.");
    }
    auto result = core::Result<Next>(Next::once_more);
    for (bool fresh = !is_bare(head);; fresh = true) {
        if (auto* const trace = context.trace()) {
            trace->attempt();
        }
        auto lease = co_await connections.lease(fresh);
        if (!lease) {
            if (auto* const trace = context.trace()) {
                auto& one = trace->attempts.back();
                one.ended = std::chrono::steady_clock::now();
                one.outcome = lease.error().info().code;
            }
            co_return lease.error();
        }
        exchange.record.attempts = 1;
        watchdog.guard_upstream(&lease->stream());
        Forwarding attempt(context, request, *lease);
        result = co_await attempt.run();
        if (auto* const trace = context.trace()) {
            attempt.note_end(trace->attempts.back(), result);
        }
        watchdog.guard_upstream(nullptr);
        watchdog.watch_client(false);
        if (!result || *result == Next::answered) {
            break;
        }
    }
    if (!result) {
        co_return result.error();
    }
    co_return core::Result<void>();
}

}  // namespace llmproxy::pipeline
