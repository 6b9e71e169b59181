#include "llmproxy/policy/circuit_breaker.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;
using enum CircuitState;

class CircuitBreakerTest : public testing::Test {
protected:
    void fail(int times)
    {
        for (int i = 0; i < times; ++i) {
            auto permit = breaker_.try_acquire();
            ASSERT_TRUE(permit) << i;
            permit.failed();
        }
    }
    void answer(unsigned status)
    {
        auto permit = breaker_.try_acquire();
        ASSERT_TRUE(permit) << status;
        permit.head(status);
        permit.completed();
    }
    /// Opens it and lets the time pass until a probe may go.
    void open_and_wait(core::Duration wait)
    {
        fail(5);
        ASSERT_EQ(breaker_.state(), open);
        clock_.advance(wait);
    }

    core::ManualClock clock_;
    CircuitBreaker breaker_{{}, clock_};
};

TEST_F(CircuitBreakerTest, OpensAfterFiveFailuresInARow)
{
    fail(4);
    EXPECT_EQ(breaker_.state(), closed);
    fail(1);
    EXPECT_EQ(breaker_.state(), open);
    EXPECT_FALSE(breaker_.try_acquire());
    EXPECT_FALSE(breaker_.would_admit());
    EXPECT_EQ(breaker_.probe_in(), 60s);
}

TEST_F(CircuitBreakerTest, CountsStatusesAsTheTableSays)
{
    struct Row {
        unsigned status;
        std::uint32_t failures_after;  // of 4 before
    };
    const Row rows[] = {{200, 0}, {204, 0}, {302, 0}, {400, 4}, {401, 4}, {404, 4}, {408, 4},
                        {422, 4}, {429, 4}, {500, 5}, {501, 5}, {503, 5}, {529, 5}};
    for (const auto& row : rows) {
        CircuitSettings settings;
        settings.failure_threshold = 6;
        breaker_.configure(settings);
        breaker_.reset();
        fail(4);
        answer(row.status);
        EXPECT_EQ(breaker_.report().failures, row.failures_after) << row.status;
    }
}

TEST_F(CircuitBreakerTest, CountsTruncationAndNotAborts)
{
    auto cut = breaker_.try_acquire();
    cut.head(200);
    cut.failed();
    EXPECT_EQ(breaker_.report().failures, 1U);
    {
        auto aborted = breaker_.try_acquire();
        aborted.head(200);
    }
    auto shed = breaker_.try_acquire();
    shed.release();
    shed.failed();
    shed.completed();
    EXPECT_EQ(breaker_.report().failures, 1U);
}

TEST_F(CircuitBreakerTest, AdmitsOneProbeAfterTheOpenTime)
{
    open_and_wait(60s - 1ns);
    EXPECT_FALSE(breaker_.try_acquire());
    clock_.advance(1ns);
    EXPECT_TRUE(breaker_.would_admit());
    const auto probe = breaker_.try_acquire();
    ASSERT_TRUE(probe);
    EXPECT_TRUE(probe.is_probe());
    EXPECT_EQ(breaker_.state(), half_open);
    EXPECT_FALSE(breaker_.would_admit());
    EXPECT_FALSE(breaker_.try_acquire());
}

TEST_F(CircuitBreakerTest, ClosesAfterTwoSuccessfulProbes)
{
    open_and_wait(60s);
    answer(200);
    EXPECT_EQ(breaker_.state(), half_open);
    answer(404);
    EXPECT_EQ(breaker_.state(), closed);
    EXPECT_EQ(breaker_.report().openings, 0U);
}

TEST_F(CircuitBreakerTest, FreesTheProbesPlaceWhenItsHeadComes)
{
    open_and_wait(60s);
    auto first = breaker_.try_acquire();
    first.head(200);
    auto second = breaker_.try_acquire();
    ASSERT_TRUE(second.is_probe());
    // The first one's reply is cut off while it is still half-open.
    first.failed();
    EXPECT_EQ(breaker_.state(), open);
    second.head(200);
    EXPECT_EQ(breaker_.state(), open);
}

TEST_F(CircuitBreakerTest, GivesTheProbesPlaceBackOnAbortAnd429)
{
    open_and_wait(60s);
    {
        const auto aborted = breaker_.try_acquire();
        EXPECT_FALSE(breaker_.would_admit());
    }
    EXPECT_TRUE(breaker_.would_admit());
    auto limited = breaker_.try_acquire();
    limited.head(429);
    EXPECT_TRUE(breaker_.would_admit());
    EXPECT_EQ(breaker_.state(), half_open);
    auto moved = breaker_.try_acquire();
    auto target = std::move(moved);
    EXPECT_FALSE(breaker_.would_admit());
    target = CircuitBreaker::Permit();
    EXPECT_TRUE(breaker_.would_admit());
}

TEST_F(CircuitBreakerTest, StaysOpenLongerWithEachOpeningInARow)
{
    open_and_wait(0s);
    for (const core::Duration expected :
         std::array<core::Duration, 6>{60s, 120s, 180s, 240s, 300s, 300s}) {
        EXPECT_EQ(breaker_.probe_in(), expected);
        clock_.advance(expected);
        auto probe = breaker_.try_acquire();
        ASSERT_TRUE(probe.is_probe());
        probe.failed();
        ASSERT_EQ(breaker_.state(), open);
    }
    clock_.advance(300s);
    answer(200);
    answer(200);
    fail(5);
    EXPECT_EQ(breaker_.probe_in(), 60s);
}

TEST_F(CircuitBreakerTest, DropsResultsOfEarlierGenerations)
{
    auto old_success = breaker_.try_acquire();
    auto old_failure = breaker_.try_acquire();
    auto old_abort = breaker_.try_acquire();
    open_and_wait(60s);
    const auto probe = breaker_.try_acquire();
    old_failure.failed();
    EXPECT_EQ(breaker_.state(), half_open);
    old_success.head(200);
    old_success.completed();
    old_abort.release();
    EXPECT_EQ(breaker_.state(), half_open);
    EXPECT_FALSE(breaker_.would_admit());
}

TEST_F(CircuitBreakerTest, DropsAProbeThatAnOperatorOvertook)
{
    open_and_wait(60s);
    auto probe = breaker_.try_acquire();
    breaker_.reset();
    EXPECT_EQ(breaker_.state(), closed);
    probe.failed();
    EXPECT_EQ(breaker_.report().failures, 0U);
}

TEST_F(CircuitBreakerTest, StaysAsAnOperatorHoldsIt)
{
    breaker_.obey(CircuitOrder::open);
    clock_.advance(24h * 365);
    EXPECT_FALSE(breaker_.try_acquire());
    EXPECT_TRUE(breaker_.report().held);
    breaker_.obey(CircuitOrder::close);
    fail(50);
    EXPECT_EQ(breaker_.state(), closed);
    breaker_.reset();
    EXPECT_FALSE(breaker_.report().held);
    fail(5);
    EXPECT_EQ(breaker_.state(), open);
}

TEST_F(CircuitBreakerTest, CountsNothingWhileSwitchedOff)
{
    fail(5);
    CircuitSettings off;
    off.enabled = false;
    breaker_.configure(off);
    EXPECT_EQ(breaker_.state(), closed);
    fail(50);
    EXPECT_EQ(breaker_.state(), closed);
    breaker_.configure({});
    fail(5);
    EXPECT_EQ(breaker_.state(), open);
}

TEST_F(CircuitBreakerTest, KeepsItsLastTransitionsForOperators)
{
    open_and_wait(60s);
    answer(200);
    answer(200);
    const auto report = breaker_.report();
    ASSERT_EQ(report.history.size(), 3U);
    const std::array<std::pair<CircuitState, CircuitCause>, 3> expected{
        {{open, CircuitCause::failures},
         {half_open, CircuitCause::time_over},
         {closed, CircuitCause::probes_succeeded}}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(report.history.at(i).to, expected.at(i).first) << i;
        EXPECT_EQ(report.history.at(i).cause, expected.at(i).second) << i;
    }
    EXPECT_EQ(report.history.at(1).from, open);
    EXPECT_EQ(report.history.at(1).at - report.history.at(0).at, 60s);
    for (std::size_t i = 0; i < 100; ++i) {
        breaker_.reset();
    }
    EXPECT_EQ(breaker_.report().history.size(), CircuitBreaker::kHistory);
    EXPECT_EQ(breaker_.report().history.front().cause, CircuitCause::operator_reset);
}

TEST(CircuitBreaker, MayBeDestroyedBeforeItsPermits)
{
    const core::ManualClock clock;
    CircuitBreaker::Permit permit;
    {
        CircuitBreaker breaker({}, clock);
        permit = breaker.try_acquire();
    }
    permit.failed();
    EXPECT_FALSE(permit);
}

TEST(CircuitBreaker, NeverHasTwoProbesOutUnderContention)
{
    core::ManualClock clock;
    CircuitSettings settings;
    settings.failure_threshold = 1;
    settings.success_threshold = 3;
    settings.open_timeout = 1ms;
    settings.longest_open = 1ms;
    CircuitBreaker breaker(settings, clock);
    breaker.try_acquire().failed();
    std::atomic<int> probes{0};
    std::atomic<int> overlaps{0};
    std::atomic<int> served{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 5'000; ++i) {
                clock.advance(100us);
                auto permit = breaker.try_acquire();
                if (!permit) {
                    continue;
                }
                ++served;
                const bool probe = permit.is_probe();
                if (probe) {
                    overlaps += ++probes > 1 ? 1 : 0;
                    std::this_thread::yield();
                    --probes;
                }
                switch ((i + t) % 4) {
                case 0: permit.failed(); break;
                case 1: permit.head(429); break;
                case 2: permit.release(); break;
                default:
                    permit.head(200);
                    permit.completed();
                    break;
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(overlaps, 0);
    EXPECT_GT(served, 100);
    clock.advance(1ms);
    breaker.reset();
    EXPECT_TRUE(breaker.try_acquire());
}

}  // namespace
}  // namespace llmproxy::policy
