#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/net/stream.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>

namespace llmproxy::net {

/// Guards every socket wait of one session with one lazy timer.
///
/// An operation only moves the deadline; the timer wakes, looks, and re-arms or cancels the sockets. While a reply is
/// under way it also looks, twice a second, whether the client has gone, even behind bytes it pipelined.
/// Thread safety: none; lives on the session's strand. Lifetime: the guarded streams must outlive the watchdog or be
/// taken back by `guard_upstream(nullptr)`.
class Watchdog {
public:
    enum class Verdict : std::uint8_t { none, expired, client_gone, stopped };

    /// \param strand  the session's; every callback runs there.
    Watchdog(boost::asio::any_io_executor strand, Stream& client);
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;
    ~Watchdog();

    /// From now on waits end at `deadline`. Clears an earlier verdict of `expired`.
    void expect(core::Deadline deadline);
    /// The stream to cancel besides the client's; nullptr for none.
    void guard_upstream(Stream* upstream) noexcept;
    /// A wait that is no socket's (a queue, a delay): ended too when waits end. nullptr for none.
    void guard_timer(boost::asio::steady_timer* timer) noexcept;
    /// Whether to look for a client that leaves. On while a reply is under way.
    void watch_client(bool on);
    /// Ends every wait now, for shutdown. Same strand only.
    void stop() noexcept;

    /// Why waits ended early; `none` if they did not.
    [[nodiscard]] Verdict verdict() const noexcept;
    [[nodiscard]] boost::asio::any_io_executor executor() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::net
