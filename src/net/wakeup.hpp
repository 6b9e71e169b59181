#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/task.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <utility>

namespace llmproxy::net {

/// Ends one coroutine's wait from another thread, on the coroutine's own strand.
///
/// Thread safety: `wake` and `wake_with` from any thread; `wait` on the strand given to the
/// constructor. Because the wake is posted there, one that comes between registration and wait is
/// not lost. Lifetime: shared; the strand's context must outlive the last reference.
class Wakeup : public std::enable_shared_from_this<Wakeup> {
public:
    explicit Wakeup(boost::asio::any_io_executor strand) : strand_(strand), timer_(strand) {}

    void wake()
    {
        wake_with([] {});
    }

    /// Runs `deliver` on the strand, then ends the wait.
    template <typename F>
    void wake_with(F deliver)
    {
        auto self = shared_from_this();
        boost::asio::post(strand_, [self, deliver = std::move(deliver)]() mutable {
            deliver();
            self->woken_ = true;
            self->timer_.cancel();
        });
    }

    /// Waits until woken; false when the deadline passed, or the coroutine was cancelled, before
    /// that.
    core::Task<bool> wait(core::Deadline deadline)
    {
        if (!woken_) {
            timer_.expires_at(deadline.time());
            co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
        }
        co_return woken_;
    }

private:
    boost::asio::any_io_executor strand_;
    boost::asio::steady_timer timer_;
    bool woken_ = false;
};

}  // namespace llmproxy::net
