#include "llmproxy/policy/gcra.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;
using core::ManualClock;

TEST(Gcra, AdmitsExactlyAMinutesWorthAtOnce)
{
    for (const std::uint64_t limit : {1U, 2U, 3U, 7U, 10U, 59U, 60U, 61U, 999U, 100'000U}) {
        ManualClock clock;
        Gcra gcra(limit);
        std::uint64_t admitted = 0;
        while (admitted <= limit && gcra.take(1, clock.now()).admitted) {
            ++admitted;
        }
        EXPECT_EQ(admitted, limit);
        const auto refused = gcra.take(1, clock.now());
        EXPECT_FALSE(refused.admitted);
        clock.advance(refused.wait);
        EXPECT_TRUE(gcra.take(1, clock.now()).admitted) << limit;
        EXPECT_FALSE(gcra.take(1, clock.now()).admitted) << limit;
    }
}

TEST(Gcra, LetsNoRunOfTimeHaveMoreThanItsShare)
{
    ManualClock clock;
    Gcra gcra(30);
    int admitted = 0;
    for (int tick = 0; tick < 600; ++tick) {  // ten minutes in seconds
        for (int i = 0; i < 5; ++i) {
            admitted += gcra.take(1, clock.now()).admitted ? 1 : 0;
        }
        EXPECT_LE(admitted, 30 + tick / 2);
        clock.advance(1s);
    }
    EXPECT_EQ(admitted, 30 + 599 / 2);
}

TEST(Gcra, TellsHowLongToWait)
{
    ManualClock clock;
    Gcra gcra(60);
    EXPECT_TRUE(gcra.take(60, clock.now()).admitted);
    EXPECT_EQ(gcra.take(1, clock.now()).wait, 1s);
    EXPECT_EQ(gcra.take(45, clock.now()).wait, 45s);
    EXPECT_EQ(gcra.take(61, clock.now()).wait, Gcra::kNever);
    clock.advance(44s);
    EXPECT_EQ(gcra.take(45, clock.now()).wait, 1s);
    EXPECT_TRUE(gcra.take(44, clock.now()).admitted);
}

TEST(Gcra, TellsItsFigures)
{
    ManualClock clock;
    Gcra gcra(10);
    auto figures = gcra.figures(clock.now());
    EXPECT_EQ(figures.limit, 10U);
    EXPECT_EQ(figures.remaining, 10U);
    EXPECT_EQ(figures.reset, 0s);
    ASSERT_TRUE(gcra.take(4, clock.now()).admitted);
    figures = gcra.figures(clock.now());
    EXPECT_EQ(figures.remaining, 6U);
    EXPECT_EQ(figures.reset, 24s);
    clock.advance(5s);
    figures = gcra.figures(clock.now());
    EXPECT_EQ(figures.remaining, 6U);
    EXPECT_EQ(figures.reset, 19s);
    gcra.charge(100, clock.now());
    figures = gcra.figures(clock.now());
    EXPECT_EQ(figures.remaining, 0U);
    EXPECT_EQ(figures.reset, 619s);
}

TEST(Gcra, AdmitsAllWithoutALimitAndNothingWithZero)
{
    ManualClock clock;
    Gcra open;
    EXPECT_TRUE(open.take(Gcra::kNoLimit, clock.now()).admitted);
    open.charge(1, clock.now());
    EXPECT_EQ(open.figures(clock.now()).remaining, Gcra::kNoLimit);
    Gcra closed(0);
    EXPECT_FALSE(closed.take(1, clock.now()).admitted);
    EXPECT_EQ(closed.take(1, clock.now()).wait, Gcra::kNever);
    closed.charge(5, clock.now());
    closed.give_back(5, clock.now(), clock.now());
    EXPECT_EQ(closed.figures(clock.now()).remaining, 0U);
}

TEST(Gcra, GivesBackWhatWasNotUsed)
{
    ManualClock clock;
    Gcra gcra(100);
    const auto taken = clock.now();
    ASSERT_TRUE(gcra.take(100, taken).admitted);
    clock.advance(6s);
    gcra.give_back(70, taken, clock.now());
    EXPECT_EQ(gcra.figures(clock.now()).remaining, 80U);  // 30 used, 10 of it came back
}

TEST(Gcra, GivesNothingBackThatCameBackByItself)
{
    ManualClock clock;
    Gcra gcra(100);
    const auto taken = clock.now();
    ASSERT_TRUE(gcra.take(50, taken).admitted);
    clock.advance(2min);
    gcra.give_back(50, taken, clock.now());
    EXPECT_EQ(gcra.figures(clock.now()).remaining, 100U);
    ASSERT_TRUE(gcra.take(100, clock.now()).admitted);
    gcra.give_back(50, taken, clock.now());
    EXPECT_FALSE(gcra.take(1, clock.now()).admitted);
}

TEST(Gcra, GivesBackWhatWasTakenBehindAnotherWhoReadTheClockLater)
{
    ManualClock clock;
    Gcra gcra(100);
    const auto earlier = clock.now();
    clock.advance(5ms);
    ASSERT_TRUE(gcra.take(10, clock.now()).admitted);  // finds the limit whole
    ASSERT_TRUE(gcra.take(80, earlier).admitted);
    gcra.give_back(80, earlier, clock.now());
    EXPECT_EQ(gcra.figures(clock.now()).remaining, 90U);
}

TEST(Gcra, ChargesMoreThanThereIsAndRefusesUntilItCameBack)
{
    ManualClock clock;
    Gcra gcra(60);
    gcra.charge(90, clock.now());
    EXPECT_FALSE(gcra.take(0, clock.now()).admitted);
    EXPECT_EQ(gcra.take(0, clock.now()).wait, 30s);
    clock.advance(30s);
    EXPECT_TRUE(gcra.take(0, clock.now()).admitted);
    EXPECT_FALSE(gcra.take(1, clock.now()).admitted);
}

TEST(Gcra, StaysSaneWithAbsurdAmounts)
{
    ManualClock clock;
    Gcra gcra(1);
    for (int i = 0; i < 1000; ++i) {
        gcra.charge(Gcra::kNoLimit, clock.now());
    }
    EXPECT_EQ(gcra.take(1, clock.now()).wait, 24h);  // a day of debt is the most
    gcra.give_back(Gcra::kNoLimit, clock.now(), clock.now());
    EXPECT_TRUE(gcra.take(1, clock.now()).admitted);
}

TEST(Gcra, TakesAnotherLimitAtOnce)
{
    ManualClock clock;
    Gcra gcra(10);
    ASSERT_TRUE(gcra.take(5, clock.now()).admitted);
    gcra.set_limit(100);
    EXPECT_EQ(gcra.figures(clock.now()).remaining, 50U);
    gcra.set_limit(2);
    EXPECT_TRUE(gcra.take(1, clock.now()).admitted);
    EXPECT_FALSE(gcra.take(1, clock.now()).admitted);
}

TEST(Gcra, AdmitsNoMoreUnderContention)
{
    for (int round = 0; round < 20; ++round) {
        const ManualClock clock;
        Gcra gcra(100);
        std::atomic<int> admitted{0};
        std::array<std::thread, 4> threads;
        for (auto& thread : threads) {
            thread = std::thread([&] {
                for (int i = 0; i < 500; ++i) {
                    admitted += gcra.take(2, clock.now()).admitted ? 1 : 0;
                }
            });
        }
        for (auto& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(admitted, 50);
    }
}

TEST(Gcra, LosesNothingThatIsGivenBackUnderContention)
{
    const ManualClock clock;
    Gcra gcra(1000);
    std::array<std::thread, 4> threads;
    for (auto& thread : threads) {
        thread = std::thread([&] {
            for (int i = 0; i < 2000; ++i) {
                if (gcra.take(10, clock.now()).admitted) {
                    gcra.give_back(10, clock.now(), clock.now());
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(gcra.figures(clock.now()).remaining, 1000U);
}

}  // namespace
}  // namespace llmproxy::policy
