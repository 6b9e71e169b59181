#pragma once

#include "llmproxy/core/task.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <csignal>
#include <exception>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace llmproxy::net::test {

/// Two threads that run coroutines, each on a strand of its own. Joined when it goes, after all of
/// them have ended.
class Loop {
public:
    Loop() : work_(io_.get_executor())
    {
        std::signal(SIGPIPE, SIG_IGN);  // as the daemon does
        for (int i = 0; i < 2; ++i) {
            threads_.emplace_back([this] { io_.run(); });
        }
    }
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    ~Loop()
    {
        work_.reset();
        for (auto& thread : threads_) {
            thread.join();
        }
    }

    template <typename T>
    std::future<T> start(core::Task<T> task)
    {
        auto promise = std::make_shared<std::promise<T>>();
        auto future = promise->get_future();
        boost::asio::co_spawn(boost::asio::make_strand(io_), fulfil(promise, std::move(task)),
                              [promise](const std::exception_ptr& escaped) {
                                  if (escaped) {
                                      promise->set_exception(escaped);
                                  }
                              });
        return future;
    }

    /// Runs `task` to its end.
    template <typename T>
    T run(core::Task<T> task)
    {
        return start(std::move(task)).get();
    }

    [[nodiscard]] boost::asio::io_context& io() noexcept { return io_; }

private:
    template <typename T>
    static core::Task<void> fulfil(std::shared_ptr<std::promise<T>> promise, core::Task<T> task)
    {
        promise->set_value(co_await std::move(task));
    }

    boost::asio::io_context io_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::vector<std::thread> threads_;
};

}  // namespace llmproxy::net::test
