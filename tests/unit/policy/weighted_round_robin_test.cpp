#include "llmproxy/policy/weighted_round_robin.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace llmproxy::policy {
namespace {

TEST(WeightedRoundRobin, SpreadsPicksAsTheirWeightsSay)
{
    WeightedRoundRobin robin({5, 1, 1});
    std::string order;
    for (int i = 0; i < 14; ++i) {
        order += static_cast<char>('a' + static_cast<int>(robin.pick().value()));
    }
    EXPECT_EQ(order, "aabacaaaabacaa");
}

TEST(WeightedRoundRobin, PicksOnlyAmongUsableCandidates)
{
    WeightedRoundRobin robin({3, 1, 2});
    const std::array<std::size_t, 3> usable{1, 2, 99};
    std::array<int, 3> counts{};
    for (int i = 0; i < 30; ++i) {
        ++counts.at(robin.pick(usable).value());
    }
    EXPECT_EQ(counts, (std::array<int, 3>{0, 10, 20}));
}

TEST(WeightedRoundRobin, PicksNothingWithoutWeight)
{
    WeightedRoundRobin none({});
    EXPECT_FALSE(none.pick());
    WeightedRoundRobin zero({0, 1});
    const std::array<std::size_t, 1> only_zero{0};
    EXPECT_FALSE(zero.pick(only_zero));
    EXPECT_EQ(zero.pick(), 1U);
}

}  // namespace
}  // namespace llmproxy::policy
