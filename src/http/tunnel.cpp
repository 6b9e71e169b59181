#include "llmproxy/http/tunnel.hpp"

#include "llmproxy/net/pipe_pool.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <array>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <span>
#include <utility>

namespace llmproxy::http {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = net::Stream::Socket;
using Verdict = net::Watchdog::Verdict;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// A direction that always finds bytes lets the others of its thread go on after so many.
constexpr std::size_t kTurn = std::size_t{1} << 20;

/// One side of the tunnel and the words for its end.
struct Side {
    Side(net::Stream& the_stream, net::Buffer& the_first, TunnelEnd when_closed,
         TunnelEnd when_reset)
        : stream(the_stream), first(the_first), closed(when_closed), reset(when_reset)
    {
    }
    net::Stream& stream;
    net::Buffer& first;
    TunnelEnd closed;
    TunnelEnd reset;
    bool has_ended = false;
    bool is_watched = false;
};

class BreakAlarm;

/// What both directions share.
struct Both {
    Both(net::Watchdog& the_watchdog, core::Duration limit, TunnelTraffic& counts, Side a, Side b)
        : watchdog(the_watchdog), idle_limit(limit), traffic(counts), client(a), upstream(b),
          splices(!a.stream.is_tls() && !b.stream.is_tls()),
          over(the_watchdog.executor(), core::SteadyTime::max())
    {
    }

    void moved()
    {
        watchdog.expect(core::Deadline::after(std::chrono::steady_clock::now(), idle_limit));
    }

    void ended(Side& side)
    {
        side.has_ended = true;
        if (traffic.end == TunnelEnd::open) {
            traffic.end = side.closed;
        }
    }

    /// Something other than an end of `side`: the tunnel is over for both.
    void broke(const Side& side)
    {
        if (cut) {
            return;
        }
        cut = true;
        switch (watchdog.verdict()) {
        case Verdict::expired: traffic.end = TunnelEnd::idle_timeout; break;
        case Verdict::stopped: traffic.end = TunnelEnd::drained; break;
        case Verdict::client_gone:
        case Verdict::none:
            // Who has said its goodbye and answers what still comes with RST has closed, no more.
            traffic.end = side.has_ended ? side.closed : side.reset;
            break;
        }
        client.stream.cancel();
        upstream.stream.cancel();
    }

    net::Watchdog& watchdog;
    core::Duration idle_limit;
    TunnelTraffic& traffic;
    Side client;
    Side upstream;
    bool splices;  // both plain, and nothing has spoken against it
    bool cut = false;
    bool back_running = true;
    asio::steady_timer over;
    std::shared_ptr<BreakAlarm> alarm;
};

/// Tells a tunnel that a side broke although nobody reads from it: it has said its goodbye, or the other side takes no more.
/// Set then only: it costs several system calls.
class BreakAlarm : public std::enable_shared_from_this<BreakAlarm> {
public:
    explicit BreakAlarm(Both& both) noexcept : both_(&both) {}

    void watch(Side& side)
    {
        if (std::exchange(side.is_watched, true)) {
            return;
        }
        auto on_event = [self = shared_from_this(), &side](const error_code& code) {
            if (code || self->both_ == nullptr) {
                return;
            }
            pollfd entry{side.stream.socket().native_handle(), 0, 0};
            if (::poll(&entry, 1, 0) > 0 && (entry.revents & POLLERR) != 0) {
                self->both_->broke(side);
            }
            side.is_watched = false;
        };
        side.stream.socket().async_wait(
            Socket::wait_error,
            asio::bind_executor(both_->watchdog.executor(), std::move(on_event)));
    }
    void disarm() noexcept { both_ = nullptr; }

private:
    Both* both_;
};

error_code last_error() noexcept
{
    return {errno, boost::system::system_category()};
}

bool would_block(const error_code& code) noexcept
{
    return code == asio::error::would_block || code == asio::error::try_again;
}

/// What one look at a direction brought.
enum class Seen : std::uint8_t { nothing, bytes, end, failed };

/// Moves what is there through a pipe, a turn at most. `failed`: the tunnel has been told.
core::Task<Seen> splice_burst(Both& both, Side& from, Side& to, std::uint64_t& count)
{
    auto pipe = net::PipePool::shared().borrow();
    if (!pipe) {
        co_return Seen::bytes;  // the copy loop goes on
    }
    const int source = from.stream.socket().native_handle();
    const int sink = to.stream.socket().native_handle();
    constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    for (std::size_t turn = 0; turn < kTurn;) {
        const auto taken =
            ::splice(source, nullptr, pipe.in(), nullptr, net::PipePool::kBytes, kFlags);
        if (taken == 0) {
            co_return Seen::end;
        }
        if (taken < 0) {
            const auto code = last_error();
            if (would_block(code)) {
                co_return Seen::nothing;
            }
            if (code == boost::system::errc::invalid_argument) {
                both.splices = false;
                co_return Seen::bytes;
            }
            both.broke(from);
            co_return Seen::failed;
        }
        pipe.held = static_cast<std::size_t>(taken);
        turn += pipe.held;
        while (pipe.held > 0) {
            const auto given = ::splice(pipe.out(), nullptr, sink, nullptr, pipe.held, kFlags);
            if (given > 0) {
                pipe.held -= static_cast<std::size_t>(given);
                count += static_cast<std::uint64_t>(given);
                both.moved();
                continue;
            }
            if (given < 0 && would_block(last_error())) {
                both.alarm->watch(from);
                auto [code] = co_await to.stream.socket().async_wait(Socket::wait_write, kTuple);
                if (!code && !both.cut) {
                    continue;
                }
            }
            both.broke(to);
            co_return Seen::failed;
        }
    }
    co_return Seen::bytes;
}

/// Writes all of `bytes` that came from `from`.
core::Task<net::IoResult<void>> pass_on(Both& both, Side& from, Side& to, std::string_view bytes)
{
    const std::array<std::string_view, 1> whole{bytes};
    const std::span<const std::string_view> pieces(whole);
    const auto sent = to.stream.try_write(pieces);
    if (!sent) {
        co_return sent.error();
    }
    if (*sent == bytes.size()) {
        co_return net::IoResult<void>();
    }
    both.alarm->watch(from);
    co_return co_await to.stream.write(pieces, *sent);
}

/// Copies one piece. `bytes`: the block was filled, so more may be there.
core::Task<Seen> copy_piece(Both& both, Side& from, Side& to, std::uint64_t& count)
{
    auto& buffer = from.first;
    const auto room = buffer.prepare();
    auto got = from.stream.try_read(room);
    if (!got) {
        buffer.release();
        if (would_block(got.error())) {
            co_return Seen::nothing;
        }
        if (got.error() == net::truncated_error()) {
            co_return Seen::end;
        }
        both.broke(from);
        co_return Seen::failed;
    }
    if (*got == 0) {
        buffer.release();
        co_return Seen::end;
    }
    buffer.commit(*got);
    const bool filled = *got == room.size();
    auto written = co_await pass_on(both, from, to, buffer.data());
    buffer.release();
    if (!written) {
        both.broke(to);
        co_return Seen::failed;
    }
    count += *got;
    both.moved();
    co_return filled ? Seen::bytes : Seen::nothing;
}

core::Task<error_code> wait_for_bytes(net::Stream& from)
{
    auto waited = co_await from.wait_readable();
    co_return waited ? error_code() : waited.error();
}

/// One direction until its end.
core::Task<void> pump(Both& both, Side& from, Side& to, std::uint64_t& count)
{
    if (!from.first.empty()) {
        const auto size = from.first.size();
        auto written = co_await pass_on(both, from, to, from.first.data());
        from.first.release();
        if (!written) {
            both.broke(to);
            co_return;
        }
        count += size;
        both.moved();
    }
    bool much = false;  // there was more than a block the last time
    while (!both.cut) {
        error_code failed;
        if (from.stream.is_tls()) {
            failed = co_await wait_for_bytes(from.stream);
        } else {
            auto [code] = co_await from.stream.socket().async_wait(Socket::wait_read, kTuple);
            failed = code;
        }
        if (failed || both.cut) {
            both.broke(from);
            co_return;
        }
        auto seen = Seen::bytes;
        for (std::size_t turn = 0; seen == Seen::bytes && turn < kTurn;
             turn += net::Buffer::kBlock) {
            if (much && both.splices) {
                const auto before = count;
                seen = co_await splice_burst(both, from, to, count);
                if (count != before) {
                    much = count - before > net::Buffer::kBlock;
                    break;
                }
                if (seen != Seen::bytes) {
                    break;
                }
            }
            seen = co_await copy_piece(both, from, to, count);
            much = seen == Seen::bytes;
        }
        if (seen == Seen::failed) {
            co_return;
        }
        if (seen == Seen::end) {
            both.ended(from);
            to.stream.shutdown_write();
            if (!to.has_ended) {
                both.alarm->watch(from);
            }
            co_return;
        }
    }
}

}  // namespace

std::string_view to_string(TunnelEnd end) noexcept
{
    switch (end) {
    case TunnelEnd::open: return "open";
    case TunnelEnd::client_closed: return "client_closed";
    case TunnelEnd::upstream_closed: return "upstream_closed";
    case TunnelEnd::client_reset: return "client_reset";
    case TunnelEnd::upstream_reset: return "upstream_reset";
    case TunnelEnd::idle_timeout: return "idle_timeout";
    case TunnelEnd::drained: return "drained";
    }
    return "open";
}

core::Task<void> relay_tunnel(net::Stream& client, net::Buffer& client_first, net::Stream& upstream,
                              net::Buffer& upstream_first, net::Watchdog& watchdog,
                              core::Duration idle_limit, TunnelTraffic& traffic)
{
    const Side client_side(client, client_first, TunnelEnd::client_closed, TunnelEnd::client_reset);
    const Side upstream_side(upstream, upstream_first, TunnelEnd::upstream_closed,
                             TunnelEnd::upstream_reset);
    Both both(watchdog, idle_limit, traffic, client_side, upstream_side);
    watchdog.watch_client(false);
    watchdog.guard_upstream(&upstream);
    both.moved();
    both.alarm = std::make_shared<BreakAlarm>(both);
    auto on_end = [&both](std::exception_ptr escaped) {
        if (escaped) {
            both.broke(both.upstream);  // out of memory, and the like
        }
        both.back_running = false;
        both.over.cancel();
    };
    asio::co_spawn(watchdog.executor(),
                   pump(both, both.upstream, both.client, traffic.from_upstream),
                   std::move(on_end));
    std::exception_ptr escaped;
    try {
        co_await pump(both, both.client, both.upstream, traffic.from_client);
    } catch (...) {
        escaped = std::current_exception();
        both.broke(both.client);
    }
    while (both.back_running) {
        [[maybe_unused]] auto [code] = co_await both.over.async_wait(kTuple);
    }
    both.alarm->disarm();
    watchdog.guard_upstream(nullptr);
    watchdog.expect(core::Deadline());
    if (both.cut) {
        client.reset();
        upstream.reset();
    }
    if (escaped) {
        std::rethrow_exception(escaped);
    }
}

}  // namespace llmproxy::http
