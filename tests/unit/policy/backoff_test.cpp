#include "llmproxy/policy/backoff.hpp"

#include "fixed_random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;

TEST(Backoff, GrowsFromTheFirstDelayToTheLast)
{
    FixedRandom middle(0.5);
    const std::array<core::Duration, 8> delays{100ms,  200ms,  400ms,  800ms,
                                               1600ms, 3200ms, 5000ms, 5000ms};
    for (std::uint32_t retry = 1; retry <= delays.size(); ++retry) {
        EXPECT_EQ(backoff_delay({}, retry, middle), delays.at(retry - 1)) << retry;
    }
    EXPECT_EQ(backoff_delay({}, 0, middle), 100ms);
    EXPECT_EQ(backoff_delay({}, std::numeric_limits<std::uint32_t>::max(), middle), 5s);
}

TEST(Backoff, SpreadsByTheJitterAndNeverPastTheLongest)
{
    FixedRandom lowest(0.0);
    FixedRandom highest(std::nextafter(1.0, 0.0));
    EXPECT_EQ(backoff_delay({}, 1, lowest), 90ms);
    EXPECT_EQ(backoff_delay({}, 1, highest), 110ms);
    EXPECT_EQ(backoff_delay({}, 7, lowest), 4500ms);
    EXPECT_EQ(backoff_delay({}, 7, highest), 5s);
}

TEST(Backoff, SpreadsOverEverythingWhenFull)
{
    BackoffSettings settings;
    settings.mode = JitterMode::full;
    FixedRandom lowest(0.0);
    FixedRandom quarter(0.25);
    FixedRandom highest(std::nextafter(1.0, 0.0));
    EXPECT_EQ(backoff_delay(settings, 3, lowest), 0ms);
    EXPECT_EQ(backoff_delay(settings, 3, quarter), 100ms);
    EXPECT_EQ(backoff_delay(settings, 3, highest), 400ms);
}

TEST(Backoff, WaitsNotAtAllWhenOff)
{
    BackoffSettings settings;
    settings.enabled = false;
    FixedRandom middle(0.5);
    EXPECT_EQ(backoff_delay(settings, 5, middle), 0ms);
}

TEST(Backoff, StaysWithinItsBoundsForAnySettings)
{
    FixedRandom highest(std::nextafter(1.0, 0.0));
    for (const double multiplier : {0.0, 0.5, 1.0, 1e300, -2.0}) {
        for (const double jitter : {0.0, 1.0, 3.0}) {
            for (const core::Duration initial : {0ms, 1ms, 3600'000ms}) {
                BackoffSettings settings;
                settings.multiplier = multiplier;
                settings.jitter = jitter;
                settings.initial_delay = initial;
                const auto delay = backoff_delay(settings, 9, highest);
                EXPECT_GE(delay, 0ms);
                EXPECT_LE(delay, settings.max_delay);
            }
        }
    }
}

TEST(ThreadRandom, GivesNumbersFromZeroToBelowOneEvenly)
{
    ThreadRandom random;
    constexpr int kDraws = 20'000;
    std::array<int, 4> quarters{};
    for (int i = 0; i < kDraws; ++i) {
        const auto number = random.unit();
        ASSERT_GE(number, 0.0);
        ASSERT_LT(number, 1.0);
        ++quarters.at(static_cast<std::size_t>(number * 4));
    }
    // 15 standard deviations: fails only for a generator that is wrong.
    for (const auto count : quarters) {
        EXPECT_NEAR(count, kDraws / 4, 920);
    }
}

}  // namespace
}  // namespace llmproxy::policy
