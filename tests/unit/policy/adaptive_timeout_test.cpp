#include "llmproxy/policy/adaptive_timeout.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;

constexpr core::Duration kFloor = 1s;
constexpr core::Duration kLongest = 180s;

core::Duration limit(AdaptiveTimeout& timeout, std::string_view model = "m")
{
    return timeout.limit("b", model, kFloor, kLongest);
}

void record(AdaptiveTimeout& timeout, std::size_t times, core::Duration time,
            std::string_view model = "m")
{
    for (std::size_t i = 0; i < times; ++i) {
        timeout.record("b", model, time);
    }
}

TEST(AdaptiveTimeout, IsTheConfiguredTimeUntilEnoughIsKnown)
{
    AdaptiveTimeout timeout;
    EXPECT_EQ(limit(timeout), kLongest);
    record(timeout, AdaptiveTimeout::kEnough - 1, 2s);
    EXPECT_EQ(limit(timeout), kLongest);
    record(timeout, 1, 2s);
    EXPECT_EQ(limit(timeout), 6s);
}

TEST(AdaptiveTimeout, StaysBetweenFloorAndConfiguredTime)
{
    AdaptiveTimeout timeout;
    record(timeout, 20, 10ms, "fast");
    record(timeout, 20, 100s, "slow");
    record(timeout, 20, 0s, "at once");
    record(timeout, 20, 24h, "never");
    EXPECT_EQ(limit(timeout, "fast"), kFloor);
    EXPECT_EQ(limit(timeout, "slow"), kLongest);
    EXPECT_EQ(limit(timeout, "at once"), kFloor);
    EXPECT_EQ(limit(timeout, "never"), kLongest);
    EXPECT_EQ(timeout.limit("b", "slow", 10s, 5s), 5s);
}

TEST(AdaptiveTimeout, TakesThePercentileAndForgetsWhatIsOld)
{
    AdaptiveTimeout timeout;
    // 127 of 128 are below the slowest: more than 99 in 100.
    record(timeout, AdaptiveTimeout::kSamples - 2, 2s);
    record(timeout, 1, 50s);
    record(timeout, 5, 2s);
    EXPECT_EQ(limit(timeout), 6s);
    record(timeout, 16, 50s);
    EXPECT_EQ(limit(timeout), 150s);
    record(timeout, AdaptiveTimeout::kSamples + AdaptiveTimeout::kRefresh, 1s);
    EXPECT_EQ(limit(timeout), 3s);
}

TEST(AdaptiveTimeout, GrowsAgainFromItsOwnTimeouts)
{
    AdaptiveTimeout timeout;
    record(timeout, 128, 1s);
    const auto first = limit(timeout);
    EXPECT_EQ(first, 3s);
    record(timeout, 16, first);
    EXPECT_EQ(limit(timeout), 9s);
}

TEST(AdaptiveTimeout, KeepsBackendsAndModelsApart)
{
    AdaptiveTimeout timeout;
    for (int i = 0; i < 20; ++i) {
        timeout.record("a", "m", 1s);
        timeout.record("b", "m", 2s);
        timeout.record("b", "n", 3s);
    }
    EXPECT_EQ(timeout.limit("a", "m", kFloor, kLongest), 3s);
    EXPECT_EQ(timeout.limit("b", "m", kFloor, kLongest), 6s);
    EXPECT_EQ(timeout.limit("b", "n", kFloor, kLongest), 9s);
    EXPECT_EQ(timeout.limit("a", "n", kFloor, kLongest), kLongest);
}

TEST(AdaptiveTimeout, ForgetsTheSeriesThatIsUnusedForLongest)
{
    AdaptiveTimeout timeout;
    record(timeout, 20, 2s, "kept");
    record(timeout, 20, 2s, "dropped");
    for (std::size_t i = 0; i + 1 < AdaptiveTimeout::kSeries; ++i) {
        EXPECT_EQ(limit(timeout, "kept"), 6s);
        record(timeout, 1, 1s, "model-" + std::to_string(i));
    }
    EXPECT_EQ(timeout.series(), AdaptiveTimeout::kSeries);
    EXPECT_EQ(limit(timeout, "kept"), 6s);
    EXPECT_EQ(limit(timeout, "dropped"), kLongest);
}

TEST(AdaptiveTimeout, MayBeUsedByManyThreads)
{
    AdaptiveTimeout timeout;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&timeout, t] {
            for (int i = 0; i < 2'000; ++i) {
                const auto model = std::to_string((i * 7 + t) % 300);
                timeout.record("b", model, 1s);
                const auto now = timeout.limit("b", model, kFloor, kLongest);
                EXPECT_TRUE(now == 3s || now == kLongest);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(timeout.series(), AdaptiveTimeout::kSeries);
}

}  // namespace
}  // namespace llmproxy::policy
