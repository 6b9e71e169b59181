#include "llmproxy/policy/byte_budget.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

TEST(ByteBudget, RefusesGrowthPastTheLimitAndKeepsWhatIsHeld)
{
    ByteBudget budget(100);
    auto hold = budget.hold();
    EXPECT_TRUE(hold.grow(60));
    EXPECT_FALSE(hold.grow(41));
    EXPECT_FALSE(hold.grow(std::numeric_limits<std::uint64_t>::max()));
    EXPECT_TRUE(hold.grow(40));
    EXPECT_EQ(budget.used(), 100U);
    EXPECT_EQ(hold.bytes(), 100U);
}

TEST(ByteBudget, GetsEverythingBackOnce)
{
    ByteBudget budget(100);
    {
        auto hold = budget.hold();
        ASSERT_TRUE(hold.grow(70));
        auto moved = std::move(hold);
        EXPECT_EQ(budget.used(), 70U);
        moved = budget.hold();
        EXPECT_EQ(budget.used(), 0U);
        ASSERT_TRUE(moved.grow(10));
        moved.release();
        moved.release();
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(ByteBudget, RefusesEverythingWhileOverALoweredLimit)
{
    ByteBudget budget(100);
    auto hold = budget.hold();
    ASSERT_TRUE(hold.grow(80));
    budget.set_limit(50);
    EXPECT_FALSE(hold.grow(0) && hold.grow(1));
    hold.release();
    EXPECT_TRUE(hold.grow(50));
}

TEST(ByteBudget, MayBeDestroyedBeforeItsHolds)
{
    std::optional<ByteBudget> budget(std::in_place, 10U);
    auto hold = budget->hold();
    ASSERT_TRUE(hold.grow(10));
    budget.reset();
    hold.release();
    EXPECT_EQ(hold.bytes(), 0U);
}

TEST(ByteBudget, NeverExceedsTheLimitUnderContention)
{
    ByteBudget budget(64);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&budget] {
            for (int i = 0; i < 5'000; ++i) {
                auto hold = budget.hold();
                const bool grown = hold.grow(24) && hold.grow(8);
                EXPECT_TRUE(!grown || hold.bytes() == 32);
                EXPECT_LE(budget.used(), 64U);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace llmproxy::policy
