#include "forward_account.hpp"
#include "llmproxy/handlers/forward.hpp"
#include "llmproxy/http/target.hpp"
#include "llmproxy/http/tunnel.hpp"

#include <array>

namespace llmproxy::handlers {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

/// What a trace shows of the way to a destination.
void note_dialling(telemetry::TraceAttempt& into, const upstream::Vetted& vetted,
                   const core::Result<net::Stream>& stream)
{
    auto at = into.began;
    if (vetted.resolved >= core::Duration::zero()) {
        into.note("dns", at, at + vetted.resolved);
        at += vetted.resolved;
    }
    if (vetted.connected >= core::Duration::zero()) {
        into.note("connect", at, at + vetted.connected);
    }
    into.ended = std::chrono::steady_clock::now();
    into.outcome = stream ? "ok" : stream.error().info().code;
}

constexpr std::string_view kEstablished = "HTTP/1.1 200 Connection Established\r\n\r\n";

}  // namespace

core::Task<void> Connect::handle(http::Exchange& exchange)
{
    exchange.record.route = "connect";
    exchange.record.path.clear();
    exchange.record.authority = exchange.head().target;
    std::string fields;
    auto opened = co_await open(exchange, fields);
    if (!opened) {
        exchange.keep_alive = false;
        co_await proxy_.refuse(exchange, opened.error(), fields);
    }
}

core::Task<core::Result<void>> Connect::open(http::Exchange& exchange, std::string& fields)
{
    const auto policies = proxy_.policies();
    const auto& head = exchange.head();
    auto admitted = co_await proxy_.admit(exchange, *policies, true, fields);
    if (!admitted) {
        co_return admitted.error();
    }
    const auto account = std::move(*admitted);
    auto authority = http::parse_authority_form(head.target);
    if (!authority) {
        co_return authority.error();
    }
    // Clients made with WinINet say that there is none.
    const bool says_none =
        head.framing.kind == http::Framing::Kind::length && head.framing.length == 0;
    if (head.framing.kind != http::Framing::Kind::none && !says_none) {
        co_return Failure(Errc::bad_request, Origin::client, "a body with CONNECT")
            .say("The request is malformed: CONNECT has no body.");
    }
    upstream::Destination destination(std::move(authority->host), authority->port,
                                      policy::DestinationUse::connect);
    const auto deadline =
        core::Deadline::after(std::chrono::steady_clock::now(), policies->connect_timeout);
    upstream::Vetted vetted;
    auto* const trace = telemetry::sampled(exchange.record.trace);
    if (trace != nullptr) {
        trace->attempt().upstream = exchange.record.authority;
    }
    exchange.watchdog().watch_client(true);
    auto upstream = co_await proxy_.destinations().dial(
        policies->destinations, std::move(destination), account->account().hosts(), deadline,
        exchange.watchdog(), vetted);
    exchange.watchdog().watch_client(false);
    if (trace != nullptr) {
        note_dialling(trace->attempts.back(), vetted, upstream);
    }
    if (!upstream) {
        co_return proxy_.explain(exchange, upstream.error(), vetted);
    }
    auto& record = exchange.record;
    auto begun = co_await account->begin(record.authority);
    if (!begun) {
        co_return begun;
    }
    record.upstream = upstream::to_text(upstream::remote_endpoint(*upstream));
    record.attempts = 1;
    record.times.proxy = std::chrono::steady_clock::now() - exchange.started;
    record.status = 200;
    record.stream = true;
    exchange.keep_alive = false;
    const std::array<std::string_view, 1> pieces{kEstablished};
    auto written = co_await exchange.write(std::span<const std::string_view>(pieces));
    if (!written) {
        account->abandon();
        co_return written;
    }
    exchange.tunnel = std::make_unique<http::PendingTunnel>(std::move(*upstream), net::Buffer(),
                                                            policies->settings.idle_timeout);
    exchange.tunnel->on_end = [account, host = record.authority, id = record.request_id](
                                  const http::TunnelTraffic& traffic, core::Duration duration) {
        return account->settle_tunnel(host, id, traffic, duration);
    };
    exchange.tunnel->progress_interval = policies->settings.progress_interval;
    co_return core::Result<void>();
}

}  // namespace llmproxy::handlers
