#include "llmproxy/core/deadline.hpp"

#include <gtest/gtest.h>

namespace llmproxy::core {
namespace {

using namespace std::chrono_literals;

TEST(Deadline, DefaultNeverPasses)
{
    const Deadline none;
    EXPECT_TRUE(none.never());
    EXPECT_FALSE(none.passed(SteadyTime::max() - 1ns));
}

TEST(Deadline, PassesExactlyAtItsTime)
{
    ManualClock clock;
    const auto deadline = Deadline::after(clock.now(), 100ms);
    EXPECT_FALSE(deadline.never());
    clock.advance(100ms - 1ns);
    EXPECT_FALSE(deadline.passed(clock.now()));
    clock.advance(1ns);
    EXPECT_TRUE(deadline.passed(clock.now()));
}

TEST(Deadline, ZeroAndNegativeLimitsMeanNone)
{
    const ManualClock clock;
    EXPECT_TRUE(Deadline::after(clock.now(), 0s).never());
    EXPECT_TRUE(Deadline::after(clock.now(), -1s).never());
}

TEST(Deadline, HugeLimitDoesNotOverflow)
{
    const ManualClock clock;
    EXPECT_TRUE(Deadline::after(clock.now(), Duration::max()).never());
    EXPECT_TRUE(Deadline::after(clock.now(), SteadyTime::max() - clock.now()).never());
    const auto last = Deadline::after(clock.now(), SteadyTime::max() - clock.now() - 1ns);
    EXPECT_EQ(last.time(), SteadyTime::max() - 1ns);
}

TEST(Deadline, MinIsTheEarlier)
{
    const ManualClock clock;
    const auto soon = Deadline::after(clock.now(), 1s);
    const auto late = Deadline::after(clock.now(), 2s);
    EXPECT_EQ(soon.min(late), soon);
    EXPECT_EQ(late.min(soon), soon);
    EXPECT_EQ(soon.min(Deadline()), soon);
    EXPECT_EQ(Deadline().min(Deadline()), Deadline());
}

TEST(ManualClock, MovesBothClocksTogether)
{
    ManualClock clock;
    const auto steady = clock.now();
    const auto wall = clock.wall();
    clock.advance(1500ms);
    EXPECT_EQ(clock.now() - steady, 1500ms);
    EXPECT_EQ(clock.wall() - wall, 1500ms);
}

TEST(RealClock, IsTheMachinesClocks)
{
    const RealClock clock;
    const auto before = std::chrono::steady_clock::now();
    const auto read = clock.now();
    EXPECT_LE(before, read);
    EXPECT_LE(read, std::chrono::steady_clock::now());
    EXPECT_GT(clock.wall().time_since_epoch(), std::chrono::hours(24) * 365 * 50);
}

}  // namespace
}  // namespace llmproxy::core
