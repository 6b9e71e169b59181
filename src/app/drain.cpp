#include "parts.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::app {
namespace {

constexpr std::chrono::milliseconds kLook{20};  // how often a drain looks whether all has finished
constexpr std::chrono::seconds kSweep{1};       // how often pools are swept
constexpr std::chrono::seconds kLastWait{5};    // for sessions to end once they were told to
constexpr std::chrono::seconds kFlushTraces{3};
constexpr int kCutShort = 3;

}  // namespace

core::Task<void> Daemon::Parts::pause(asio::steady_timer& on, core::Duration time)
{
    on.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(time));
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    [[maybe_unused]] auto [code] = co_await on.async_wait(token);
}

core::Task<void> Daemon::Parts::sweep()
{
    while (!stopping) {
        co_await pause(sweeper, kSweep);
        const auto policies = gateway->policies();
        for (const auto& backend : policies->backends->all()) {
            backend->sweep(std::chrono::steady_clock::now());
        }
        forward->proxy.pool().sweep(std::chrono::steady_clock::now());
    }
}

core::Task<void> Daemon::Parts::drain()
{
    server->start_draining();
    log().info({}, "draining", {{"active", server->active_requests()}});
    const auto settings = current();
    if (settings->server.drain_delay > core::Duration::zero() && !stopping) {
        co_await pause(timer, settings->server.drain_delay);
    }
    server->close_listeners(false);
    const auto until =
        core::Deadline::after(std::chrono::steady_clock::now(), settings->server.drain_timeout);
    while (server->active_requests() > 0 && !stopping &&
           !until.passed(std::chrono::steady_clock::now())) {
        co_await pause(timer, kLook);
    }
    const bool complete = server->active_requests() == 0;
    co_await finish(complete);
}

core::Task<void> Daemon::Parts::finish(bool complete)
{
    server->close_listeners(true);
    stopping = true;
    sweeper.cancel();
    checks.stop();
    if (complete) {
        server->close_idle();
    } else {
        log().warn({}, "ending requests that are still running",
                   {{"active", server->active_requests()}});
        server->stop_sessions();
    }
    const auto until = core::Deadline::after(std::chrono::steady_clock::now(), kLastWait);
    while (server->connections() > 0 && !until.passed(std::chrono::steady_clock::now())) {
        server->stop_sessions();
        co_await pause(timer, kLook);
    }
    if (!co_await checks.join(until)) {
        log().error({}, "checks of backends did not end");
    }
    for (const auto& backend : gateway->policies()->backends->all()) {
        backend->close_idle();
    }
    forward->proxy.pool().close_idle();
    co_await flush_traces();
    log().info({}, "ended", {{"complete", complete}});
    end(complete ? 0 : kCutShort);
}

core::Task<void> Daemon::Parts::flush_traces()
{
    if (!exporter) {
        co_return;
    }
    const auto until = core::Deadline::after(std::chrono::steady_clock::now(), kFlushTraces);
    exporter->stop(until);
    while (!exporter->ended() && !until.passed(std::chrono::steady_clock::now())) {
        co_await pause(timer, kLook);
    }
    if (!exporter->ended()) {
        log().warn({}, "traces are lost: the collector takes too long");
    }
}

void Daemon::Parts::end(int code)
{
    const std::lock_guard lock(end_mutex);
    exit_code = code;
    ended.notify_all();
}

}  // namespace llmproxy::app
