#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "resumption.hpp"
#include "sqlite.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

namespace llmproxy::storage {

/// A thread that reads from the database, one job after the other, on a connection that cannot
/// write.
///
/// Thread safety: every member may be called concurrently. Lifetime: the destructor ends what runs
/// and fails what waits; by then nobody may call `read` any more.
class ReadLane {
public:
    struct Options {
        std::string path;
        std::size_t max_queued = 0;
        core::Duration timeout{0};   ///< of one job; zero: none
        core::Duration interval{0};  ///< between calls of `tick`; zero: none
        std::function<void(Database&)> tick;
    };

    explicit ReadLane(Options options);
    ReadLane(const ReadLane&) = delete;
    ReadLane& operator=(const ReadLane&) = delete;
    ~ReadLane();

    /// Runs `work(database)`, which gives a Result, and returns what it gave. Fails besides with
    /// Errc::overloaded (queue full, timeout) and Errc::store_unavailable (no connection, closed).
    template <typename Work>
    core::Task<std::invoke_result_t<Work, Database&>> read(Work work)
    {
        const auto job = std::make_shared<WorkJob<Work>>(std::move(work));
        Push push(*this, job);
        co_await suspend(std::move(push));
        co_return std::move(*job->result);
    }

    /// Ends what runs, and fails what waits and will come.
    void close();
    /// Waits until `close` has had its effect.
    void join();

private:
    struct Job {
        Job() = default;
        Job(const Job&) = delete;
        Job& operator=(const Job&) = delete;
        virtual ~Job() = default;
        /// The failure, if it was one: only to look at.
        virtual const core::Failure* run(Database& database) = 0;
        virtual void fail(core::Failure failure) = 0;
        Resumption waiting;
    };

    template <typename Work>
    struct WorkJob final : Job {
        explicit WorkJob(Work given) : work(std::move(given)) {}
        const core::Failure* run(Database& database) override
        {
            result.emplace(work(database));
            if (result->has_error()) {
                failure = result->error();
                return &failure;
            }
            return nullptr;
        }
        void fail(core::Failure why) override { result.emplace(std::move(why)); }
        Work work;
        std::optional<std::invoke_result_t<Work, Database&>> result;
        core::Failure failure;
    };

    struct Push {
        Push(ReadLane& given, std::shared_ptr<Job> what) : lane(&given), job(std::move(what)) {}
        void operator()(Resumption waiting)
        {
            job->waiting = std::move(waiting);
            lane->push(std::move(job));
        }
        ReadLane* lane;
        std::shared_ptr<Job> job;
    };

    void push(std::shared_ptr<Job> job);
    void work();
    void run(Job& job);
    void tick();
    void wait(std::unique_lock<std::mutex>& lock);
    core::Result<void> connect();

    const Options options_;
    std::optional<Database> database_;  // of the lane's thread
    core::SteadyTime next_tick_;

    std::mutex mutex_;  // guards what follows, and `database_` against `close`
    std::condition_variable arrived_;
    std::deque<std::shared_ptr<Job>> queue_;
    bool closed_ = false;
    std::thread thread_;
};

}  // namespace llmproxy::storage
