#pragma once

#include "llmproxy/core/task.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <utility>

namespace llmproxy::storage {

/// The right to let one suspended coroutine go on, on its own executor, from any thread.
/// Move-only. Lifetime: used, or destroyed, before the coroutine's context.
class Resumption {
public:
    Resumption() noexcept = default;
    template <typename Handler>
    explicit Resumption(Handler handler)
        : waiting_(std::make_unique<Holder<Handler>>(std::move(handler)))
    {
    }

    /// Once; does nothing when nobody waits.
    void resume()
    {
        if (const auto waiting = std::move(waiting_)) {
            waiting->resume();
        }
    }

private:
    struct Waiting {
        Waiting() = default;
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;
        virtual ~Waiting() = default;
        virtual void resume() = 0;
    };

    template <typename Handler>
    struct Holder final : Waiting {
        explicit Holder(Handler given)
            : handler(std::move(given)), executor(boost::asio::get_associated_executor(handler)),
              work(executor)
        {
        }
        void resume() override { boost::asio::post(executor, std::move(handler)); }

        Handler handler;
        boost::asio::any_io_executor executor;
        boost::asio::executor_work_guard<boost::asio::any_io_executor> work;
    };

    std::unique_ptr<Waiting> waiting_;
};

/// Calls `start(Resumption)` when a coroutine has been suspended.
template <typename Start>
class Suspension {
public:
    explicit Suspension(Start start) : start_(std::move(start)) {}
    template <typename Handler>
    void operator()(Handler&& handler)
    {
        start_(Resumption(std::forward<Handler>(handler)));
    }

private:
    Start start_;
};

/// Suspends the coroutine and hands `start(Resumption)` the right to let it go on.
template <typename Start>
core::Task<void> suspend(Start start)
{
    Suspension<Start> suspension(std::move(start));
    co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(
        std::move(suspension), boost::asio::use_awaitable);
}

}  // namespace llmproxy::storage
