#include "llmproxy/net/worker_pool.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <set>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;

/// An io_context that runs until the test ends.
class WorkerPoolTest : public testing::Test {
protected:
    ~WorkerPoolTest() override
    {
        context_.stop();
        for (auto* pool : started_) {
            pool->join();
        }
    }

    void start(WorkerPool& pool)
    {
        started_.push_back(&pool);
        pool.start();
    }

    asio::io_context context_{4};
    asio::executor_work_guard<asio::io_context::executor_type> work_ =
        asio::make_work_guard(context_);

private:
    std::vector<WorkerPool*> started_;
};

TEST_F(WorkerPoolTest, RunsOneThreadWhileThereIsLittleToDo)
{
    WorkerPool pool(context_, 4);
    start(pool);
    std::set<std::thread::id> seen;
    for (int i = 0; i < 200; ++i) {
        std::promise<std::thread::id> ran;
        asio::post(context_, [&] { ran.set_value(std::this_thread::get_id()); });
        seen.insert(ran.get_future().get());
    }
    EXPECT_EQ(seen.size(), 1U);
    EXPECT_EQ(pool.running(), 1U);
}

TEST_F(WorkerPoolTest, BringsInTheOthersWhenThereIsMoreThanOneCanDo)
{
    WorkerPool pool(context_, 4);
    start(pool);
    // Handlers that never leave a moment free, until another thread has come in.
    std::atomic<bool> met{false};
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::promise<void> two;
    std::function<void()> busy = [&] {
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
        while (std::chrono::steady_clock::now() < until) {}
        {
            const std::lock_guard lock(mutex);
            if (seen.insert(std::this_thread::get_id()).second && seen.size() == 2) {
                met = true;
                two.set_value();
            }
        }
        if (!met) {
            asio::post(context_, busy);
        }
    };
    for (int i = 0; i < 4; ++i) {
        asio::post(context_, busy);
    }
    two.get_future().wait();
    EXPECT_GE(pool.running(), 2U);
    context_.stop();
    pool.join();
    EXPECT_FALSE(pool.started());
}

TEST_F(WorkerPoolTest, AllThreadsRunFromTheStartWhenATestAsksForThem)
{
    WorkerPool pool(context_, 3);
    pool.run_all_for_test();
    start(pool);
    std::latch together(3);  // passed only by three threads at once
    std::latch done(3);
    for (int i = 0; i < 3; ++i) {
        asio::post(context_, [&] {
            together.arrive_and_wait();
            done.count_down();
        });
    }
    done.wait();
    EXPECT_EQ(pool.running(), 3U);
}

TEST_F(WorkerPoolTest, EndsWithTheContextAlsoThreadsThatWereNeverNeeded)
{
    WorkerPool pool(context_, 8);
    start(pool);
    context_.stop();
    pool.join();
    EXPECT_FALSE(pool.started());
}

}  // namespace
}  // namespace llmproxy::net
