#include "llmproxy/policy/backend_health.hpp"

#include "fixed_random.hpp"

#include <gtest/gtest.h>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;
using enum CheckResult;

HealthCheckSettings settings(std::uint32_t unhealthy, std::uint32_t healthy)
{
    return {"/health", 10s, 5s, unhealthy, healthy};
}

TEST(BackendHealth, IsUsedUntilSoManyChecksInARowHaveFailed)
{
    const core::ManualClock clock;
    BackendHealth health(settings(3, 2), clock);
    EXPECT_FALSE(health.is_unhealthy());
    EXPECT_FALSE(health.report().last);
    EXPECT_FALSE(health.checked(timeout));
    EXPECT_FALSE(health.checked(refused, 503));
    EXPECT_FALSE(health.is_unhealthy());
    EXPECT_EQ(health.report().state, HealthState::unknown);
    const auto change = health.checked(connect_failed);
    ASSERT_TRUE(change);
    EXPECT_EQ(change->from, HealthState::unknown);
    EXPECT_EQ(change->to, HealthState::unhealthy);
    EXPECT_TRUE(health.is_unhealthy());
    EXPECT_FALSE(health.checked(bad_reply)) << "no change";
}

TEST(BackendHealth, IsHealthyAtTheFirstSuccessUnlessItWasUnhealthy)
{
    const core::ManualClock clock;
    BackendHealth health(settings(2, 3), clock);
    EXPECT_FALSE(health.checked(refused, 500));
    EXPECT_EQ(health.checked(passed, 200)->to, HealthState::healthy);
    EXPECT_FALSE(health.checked(refused, 500));
    EXPECT_TRUE(health.checked(refused, 500));
    EXPECT_FALSE(health.checked(passed, 200));
    EXPECT_FALSE(health.checked(passed, 200));
    EXPECT_TRUE(health.is_unhealthy());
    EXPECT_TRUE(health.checked(passed, 200));
    EXPECT_FALSE(health.is_unhealthy());
}

TEST(BackendHealth, OneCheckThatAgreesWithTheStateEndsARun)
{
    const core::ManualClock clock;
    BackendHealth health(settings(2, 2), clock);
    health.checked(passed, 200);
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(health.checked(timeout));
        EXPECT_FALSE(health.checked(passed, 200));
    }
    health.checked(timeout);
    health.checked(timeout);
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(health.checked(passed, 200));
        EXPECT_FALSE(health.checked(timeout));
    }
    EXPECT_TRUE(health.is_unhealthy());
}

TEST(BackendHealth, TellsHowLongAStateHasLastedAndWhatTheLastCheckSaid)
{
    core::ManualClock clock;
    BackendHealth health(settings(1, 1), clock);
    clock.advance(4s);
    EXPECT_EQ(health.checked(refused, 404)->lasted, 4s);
    clock.advance(7s);
    const auto report = health.report();
    EXPECT_EQ(report.state, HealthState::unhealthy);
    EXPECT_EQ(report.lasts, 7s);
    EXPECT_EQ(report.last, refused);
    EXPECT_EQ(report.status, 404U);
    EXPECT_EQ(health.checked(passed, 204)->lasted, 7s);
}

TEST(BackendHealth, PausesForTheIntervalATenthMoreOrLess)
{
    const core::ManualClock clock;
    const BackendHealth health(settings(1, 1), clock);
    FixedRandom least(0);
    FixedRandom middle(0.5);
    FixedRandom most(0.999);
    EXPECT_EQ(health.pause(least), 9s);
    EXPECT_EQ(health.pause(middle), 10s);
    EXPECT_GT(health.pause(most), 10'990ms);
    EXPECT_LT(health.pause(most), 11s);
}

TEST(BackendHealth, IsCheckedOnlyWithAPath)
{
    const core::ManualClock clock;
    EXPECT_TRUE(BackendHealth(settings(1, 1), clock).is_checked());
    EXPECT_FALSE(BackendHealth(HealthCheckSettings(), clock).is_checked());
}

}  // namespace
}  // namespace llmproxy::policy
