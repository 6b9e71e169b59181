#include "llmproxy/net/worker_pool.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <optional>
#include <set>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;

/// An io_context, and the pool that runs it until the test ends.
class WorkerPoolTest : public testing::Test {
protected:
    ~WorkerPoolTest() override { end(); }

    void start(unsigned most, bool all = false)
    {
        pool_.emplace(context_, most);
        if (all) {
            pool_->run_all_for_test();
        }
        pool_->start();
    }

    void end()
    {
        context_.stop();
        if (pool_ && pool_->started()) {
            pool_->join();
        }
    }

    asio::io_context context_{4};
    asio::executor_work_guard<asio::io_context::executor_type> work_ =
        asio::make_work_guard(context_);
    std::optional<WorkerPool> pool_;
};

TEST_F(WorkerPoolTest, RunsOneThreadWhileThereIsLittleToDo)
{
    start(4);
    std::set<std::thread::id> seen;
    for (int i = 0; i < 200; ++i) {
        std::promise<std::thread::id> ran;
        asio::post(context_, [&] { ran.set_value(std::this_thread::get_id()); });
        const auto by = ran.get_future().get();
        if (pool_->running() != 1) {
            break;  // on a machine whose processors are taken, waiting for one counts as being busy
        }
        seen.insert(by);
    }
    EXPECT_LE(seen.size(), 1U);
}

TEST_F(WorkerPoolTest, BringsInTheOthersWhenThereIsMoreThanOneCanDo)
{
    start(4);
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
    EXPECT_GE(pool_->running(), 2U);
    end();
    EXPECT_FALSE(pool_->started());
}

TEST_F(WorkerPoolTest, AllThreadsRunFromTheStartWhenATestAsksForThem)
{
    start(3, true);
    std::latch together(3);  // passed only by three threads at once
    std::latch done(3);
    for (int i = 0; i < 3; ++i) {
        asio::post(context_, [&] {
            together.arrive_and_wait();
            done.count_down();
        });
    }
    done.wait();
    EXPECT_EQ(pool_->running(), 3U);
}

TEST_F(WorkerPoolTest, EndsWithTheContextAlsoThreadsThatWereNeverNeeded)
{
    start(8);
    end();
    EXPECT_FALSE(pool_->started());
}

}  // namespace
}  // namespace llmproxy::net
