#include "llmproxy/http/tunnel.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::http {
namespace {

namespace asio = boost::asio;

/// What both directions share.
struct Both {
    Both(net::Watchdog& the_watchdog, core::Duration limit)
        : watchdog(the_watchdog), idle_limit(limit),
          ended(the_watchdog.executor(), core::SteadyTime::max())
    {
    }

    void moved()
    {
        watchdog.expect(core::Deadline::after(std::chrono::steady_clock::now(), idle_limit));
    }

    net::Watchdog& watchdog;
    core::Duration idle_limit;
    asio::steady_timer ended;
    bool back_running = true;
};

/// One direction until its end; true if that was a clean one.
core::Task<bool> pump(Both& both, net::Stream& from, net::Buffer& buffer, net::Stream& to,
                      std::uint64_t& count)
{
    for (;;) {
        if (!buffer.empty()) {
            const auto size = buffer.size();
            auto written = co_await to.write(buffer.data());
            if (!written) {
                co_return false;
            }
            count += size;
            buffer.consume(size);
            both.moved();
            continue;
        }
        auto waited = co_await from.wait_readable();
        if (!waited) {
            co_return false;
        }
        auto got = from.try_read(buffer.prepare());
        if (!got && got.error() == asio::error::would_block) {
            buffer.release();
            continue;
        }
        if (!got || *got == 0) {
            buffer.release();
            to.shutdown_write();
            co_return got.has_value();
        }
        buffer.commit(*got);
        both.moved();
    }
}

core::Task<void> pump_back(Both& both, net::Stream& upstream, net::Buffer& buffer,
                           net::Stream& client, std::uint64_t& count)
{
    const bool clean = co_await pump(both, upstream, buffer, client, count);
    if (!clean) {
        client.cancel();
        upstream.cancel();
    }
}

}  // namespace

core::Task<TunnelEnd> relay_tunnel(net::Stream& client, net::Buffer& client_first,
                                   net::Stream& upstream, net::Buffer& upstream_first,
                                   net::Watchdog& watchdog, core::Duration idle_limit)
{
    TunnelEnd end;
    Both both(watchdog, idle_limit);
    watchdog.watch_client(false);
    watchdog.guard_upstream(&upstream);
    both.moved();
    auto on_end = [&both](std::exception_ptr) {
        both.back_running = false;
        both.ended.cancel();
    };
    asio::co_spawn(watchdog.executor(),
                   pump_back(both, upstream, upstream_first, client, end.from_upstream),
                   std::move(on_end));
    const bool clean = co_await pump(both, client, client_first, upstream, end.from_client);
    if (!clean) {
        client.cancel();
        upstream.cancel();
    }
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    while (both.back_running) {
        [[maybe_unused]] auto [code] = co_await both.ended.async_wait(token);
    }
    end.idle = watchdog.verdict() == net::Watchdog::Verdict::expired;
    co_return end;
}

}  // namespace llmproxy::http
