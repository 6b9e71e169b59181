#include "llmproxy/net/task_group.hpp"

#include "loop.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using core::Deadline;
using core::Task;
using test::Loop;

Deadline soon()
{
    return Deadline::after(std::chrono::steady_clock::now(), std::chrono::milliseconds(10));
}

/// Waits until it is cancelled.
Task<void> sleep_for_ever(std::atomic<int>& ended)
{
    struct AtEnd {
        explicit AtEnd(std::atomic<int>& the_counter) : counter(the_counter) {}
        ~AtEnd() { ++counter; }
        std::atomic<int>& counter;
    };
    const AtEnd at_end(ended);
    asio::steady_timer timer(co_await asio::this_coro::executor);
    timer.expires_at(core::SteadyTime::max());
    co_await timer.async_wait(asio::use_awaitable);
}

Task<void> count(std::atomic<int>& counter)
{
    ++counter;
    co_return;
}

Task<void> fail(const char* what)
{
    throw std::runtime_error(what);
    co_return;
}

class TaskGroupTest : public testing::Test {
protected:
    void spawn(Task<void> task) { group.spawn(asio::make_strand(loop.io()), std::move(task)); }
    bool join(Deadline deadline = Deadline()) { return loop.run(group.join(deadline)); }
    [[nodiscard]] std::vector<std::string> escaped()
    {
        const std::lock_guard lock(mutex);
        return escaped_texts;
    }

    std::mutex mutex;
    std::vector<std::string> escaped_texts;
    std::atomic<int> counter = 0;
    Loop loop;
    TaskGroup group{[this](const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& caught) {
            const std::lock_guard lock(mutex);
            escaped_texts.emplace_back(caught.what());
        }
    }};
};

TEST_F(TaskGroupTest, JoinWaitsForEveryTask)
{
    for (int i = 0; i < 100; ++i) {
        spawn(count(counter));
    }
    EXPECT_TRUE(join());
    EXPECT_EQ(counter, 100);
    EXPECT_EQ(group.running(), 0U);
}

TEST_F(TaskGroupTest, JoinOfNothingReturnsAtOnce)
{
    EXPECT_TRUE(join());
}

TEST_F(TaskGroupTest, JoinGivesUpAtTheDeadline)
{
    spawn(sleep_for_ever(counter));
    EXPECT_FALSE(join(soon()));
    EXPECT_EQ(group.running(), 1U);
    group.cancel_all();
    EXPECT_TRUE(join());
    EXPECT_EQ(counter, 1);
}

TEST_F(TaskGroupTest, CancelReachesEveryTaskWhereverItIs)
{
    for (int i = 0; i < 200; ++i) {
        spawn(sleep_for_ever(counter));
    }
    group.cancel_all();  // some have not begun yet
    EXPECT_TRUE(join());
    EXPECT_EQ(group.running(), 0U);
    EXPECT_TRUE(escaped().empty());
}

TEST_F(TaskGroupTest, CancelWhileOthersSpawnIsSafe)
{
    std::thread spawner([this] {
        for (int i = 0; i < 500; ++i) {
            spawn(sleep_for_ever(counter));
        }
    });
    for (int i = 0; i < 50; ++i) {
        group.cancel_all();
    }
    spawner.join();
    group.cancel_all();
    EXPECT_TRUE(join());
}

TEST_F(TaskGroupTest, ReportsExceptionsThatEscape)
{
    spawn(fail("one"));
    EXPECT_TRUE(join());
    EXPECT_EQ(escaped(), std::vector<std::string>{"one"});
}

TEST_F(TaskGroupTest, CancelledTaskThatFailsOtherwiseIsReported)
{
    auto task = [](std::atomic<int>& ended) -> Task<void> {
        try {
            co_await sleep_for_ever(ended);
        } catch (const std::exception&) {
            throw std::runtime_error("clean-up failed");
        }
    };
    spawn(task(counter));
    group.cancel_all();
    EXPECT_TRUE(join());
    // Cancelled before it began, it never got as far as failing.
    EXPECT_LE(escaped().size(), 1U);
    EXPECT_EQ(escaped().size(), static_cast<std::size_t>(counter));
}

TEST(TaskGroupLifetime, TasksDestroyedWithTheirContextLeave)
{
    std::atomic<int> ended = 0;
    TaskGroup group([](const std::exception_ptr&) {});
    {
        asio::io_context io;
        for (int i = 0; i < 3; ++i) {
            group.spawn(asio::make_strand(io), sleep_for_ever(ended));
        }
        io.poll();
        EXPECT_EQ(group.running(), 3U);
    }
    EXPECT_EQ(ended, 3);
    EXPECT_EQ(group.running(), 0U);
}

TEST(TaskGroupLifetime, GroupDestroyedFirstCancelsItsTasks)
{
    std::atomic<int> ended = 0;
    asio::io_context io;
    {
        TaskGroup group([](const std::exception_ptr&) {});
        group.spawn(asio::make_strand(io), sleep_for_ever(ended));
        io.poll();
    }
    io.run();
    EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace llmproxy::net
