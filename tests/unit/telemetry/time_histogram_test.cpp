#include "telemetry/time_histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using namespace std::chrono_literals;

double ratio(core::Duration a, core::Duration b)
{
    return static_cast<double>(a.count()) / static_cast<double>(b.count());
}

TEST(TimeBuckets, FollowEachOtherWithoutGaps)
{
    std::size_t last = 0;
    for (std::uint64_t us = 0; us < 2'000'000; ++us) {
        const auto bucket = TimeBuckets::of(std::chrono::microseconds(us));
        ASSERT_TRUE(bucket == last || bucket == last + 1) << us;
        last = bucket;
    }
}

TEST(TimeBuckets, MiddlesAreAsNearAsPromised)
{
    for (std::uint64_t us = 1; us < TimeBuckets::kMost; us += us / 97 + 1) {
        const core::Duration time = std::chrono::microseconds(us);
        const auto middle = TimeBuckets::middle(TimeBuckets::of(time));
        const auto off = std::abs((middle - time).count());
        ASSERT_LE(static_cast<double>(off),
                  std::max(500.0, static_cast<double>(time.count()) / 64.0))
            << us;
    }
}

TEST(TimeBuckets, TakeWhatIsOutOfRange)
{
    EXPECT_EQ(TimeBuckets::of(-5ms), 0U);
    EXPECT_EQ(TimeBuckets::of(0ns), 0U);
    EXPECT_EQ(TimeBuckets::of(24h), TimeBuckets::kCount - 1);
    EXPECT_NEAR(ratio(TimeBuckets::middle(TimeBuckets::kCount - 1), 8'589'934'592us), 1.0, 0.02);
}

TEST(TimeHistogram, TellsPercentilesWithinItsBound)
{
    // Log-normal, as latencies are: what is told is compared with the sorted times.
    std::mt19937_64 random(1);
    std::lognormal_distribution<double> milliseconds(4.0, 1.5);
    TimeHistogram histogram;
    std::vector<core::Duration> times;
    double sum = 0;
    for (int i = 0; i < 100'000; ++i) {
        const core::Duration time(static_cast<std::int64_t>(milliseconds(random) * 1e6));
        histogram.record(time);
        times.push_back(time);
        sum += static_cast<double>(time.count());
    }
    std::sort(times.begin(), times.end());
    TimeCounts counts;
    histogram.add_to(counts);
    const auto told = counts.summary();
    EXPECT_EQ(told.count, times.size());
    EXPECT_NEAR(static_cast<double>(told.mean.count()), sum / 100'000, 1.0);
    EXPECT_NEAR(ratio(told.p50, times[49'999]), 1.0, 1.0 / 64);
    EXPECT_NEAR(ratio(told.p95, times[94'999]), 1.0, 1.0 / 64);
    EXPECT_NEAR(ratio(told.p99, times[98'999]), 1.0, 1.0 / 64);
    EXPECT_NEAR(ratio(told.most, times.back()), 1.0, 1.0 / 64);
}

TEST(TimeHistogram, SaysNothingOfNothing)
{
    TimeCounts counts;
    TimeHistogram().add_to(counts);
    const auto told = counts.summary();
    EXPECT_EQ(told.count, 0U);
    EXPECT_EQ(told.p99, 0ns);
}

TEST(TimeHistogram, AddsUpThreadsAndHistograms)
{
    TimeHistogram one;
    TimeHistogram other;
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i) {  // more than there are copies
        threads.emplace_back([&] {
            for (int n = 0; n < 1000; ++n) {
                one.record(1ms);
                other.record(100ms);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    TimeCounts counts;
    one.add_to(counts);
    other.add_to(counts);
    const auto told = counts.summary();
    EXPECT_EQ(told.count, 40'000U);
    EXPECT_EQ(told.mean, 50'500us);
    EXPECT_NEAR(ratio(told.p50, 1ms), 1.0, 1.0 / 64);
    EXPECT_NEAR(ratio(told.p95, 100ms), 1.0, 1.0 / 64);
}

}  // namespace
}  // namespace llmproxy::telemetry
