#include "llmproxy/policy/retry_budget.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

int withdraw_all(RetryBudget& budget)
{
    int count = 0;
    while (budget.try_withdraw()) {
        ++count;
    }
    return count;
}

TEST(RetryBudget, StartsWithTenAndEarnsOneInFiveRequests)
{
    RetryBudget budget;
    EXPECT_EQ(withdraw_all(budget), 10);
    for (int i = 0; i < 4; ++i) {
        budget.deposit();
    }
    EXPECT_FALSE(budget.try_withdraw());
    budget.deposit();
    EXPECT_TRUE(budget.try_withdraw());
    EXPECT_FALSE(budget.try_withdraw());
}

TEST(RetryBudget, HoldsNoMoreThanItsCapacity)
{
    RetryBudget budget;
    for (int i = 0; i < 10'000; ++i) {
        budget.deposit();
    }
    EXPECT_DOUBLE_EQ(budget.tokens(), 100.0);
    EXPECT_EQ(withdraw_all(budget), 100);
}

TEST(RetryBudget, TakesNewSettingsAtOnce)
{
    RetryBudget budget;
    budget.configure({1.0, 10.0, 3.0});
    EXPECT_EQ(withdraw_all(budget), 3);
    budget.deposit();
    EXPECT_TRUE(budget.try_withdraw());
    budget.configure({0.0, 10.0, 3.0});
    budget.deposit();
    EXPECT_FALSE(budget.try_withdraw());
}

TEST(RetryBudget, BoundsAttemptsWhenEveryRequestWantsEveryRetry)
{
    constexpr int kThreads = 4;
    constexpr int kRequests = 2'500;
    RetryBudget budget;
    std::atomic<int> attempts{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < kRequests; ++i) {
                budget.deposit();
                ++attempts;
                for (int retry = 0; retry < 3 && budget.try_withdraw(); ++retry) {
                    ++attempts;
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    constexpr int kAll = kThreads * kRequests;
    EXPECT_LE(attempts, kAll * 12 / 10 + 10);
    // Nor does a token get lost: all but less than one is spent.
    EXPECT_EQ(attempts + static_cast<int>(budget.tokens()), kAll * 12 / 10 + 10);
}

}  // namespace
}  // namespace llmproxy::policy
