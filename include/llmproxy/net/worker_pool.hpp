#pragma once

#include "llmproxy/net/worker_demand.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace llmproxy::net {

/// The threads that run one io_context; only as many of them at a time as there is work for (WorkerDemand).
///
/// With a thread to spare Asio wakes it at every event, only that it may wait in place of the one that is at work: two
/// context switches for each piece of a quiet stream. Threads that are not needed are parked outside of the io_context.
/// Thread safety: `running` from any thread; the rest from the owner's.
/// Lifetime: `join` before destruction, after the io_context was stopped.
class WorkerPool {
public:
    /// \param most  threads in all, at least one.
    WorkerPool(boost::asio::io_context& context, unsigned most);
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;
    ~WorkerPool();

    /// All threads run always, so that tests meet every race. Before `start`.
    void run_all_for_test() noexcept { all_ = true; }
    /// Throws std::system_error if a thread cannot be made.
    void start();
    /// Waits until all threads have ended, which they do once the io_context was stopped.
    void join();

    [[nodiscard]] bool started() const noexcept { return !threads_.empty(); }
    [[nodiscard]] unsigned running() const noexcept { return running_.load(); }

private:
    class Meter;
    void work(unsigned index);
    void look_later();
    void look();
    void run_from_now_on(unsigned count);

    boost::asio::io_context& context_;
    const unsigned most_;
    bool all_ = false;
    std::vector<std::thread> threads_;
    std::atomic<unsigned> running_{1};
    std::atomic<bool> ended_{false};
    std::mutex mutex_;
    std::condition_variable wanted_;
    unsigned inside_ = 0;  // threads in the io_context besides the first

    // Used by `look` only, which is never under way twice.
    WorkerDemand demand_;
    boost::asio::steady_timer timer_;
    std::vector<std::unique_ptr<Meter>> meters_;
    core::SteadyTime looked_;
};

}  // namespace llmproxy::net
