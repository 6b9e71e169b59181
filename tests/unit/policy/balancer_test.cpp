#include "llmproxy/policy/balancer.hpp"

#include "fixed_random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;

std::vector<std::size_t> all_of(std::size_t count)
{
    std::vector<std::size_t> indices(count);
    std::iota(indices.begin(), indices.end(), 0U);
    return indices;
}

class BalancerTest : public testing::Test {
protected:
    std::vector<Target> targets(const std::vector<std::uint32_t>& weights)
    {
        std::vector<Target> made;
        for (const auto weight : weights) {
            made.push_back({weight, 0, std::make_shared<BackendLoad>(clock_)});
        }
        return made;
    }

    core::ManualClock clock_;
    EvenRandom random_;
};

TEST_F(BalancerTest, RoundRobinKeepsSharesWithinTwoPercent)
{
    Balancer balancer(Balancing::round_robin, targets({3, 1, 1}), random_);
    const auto usable = all_of(3);
    std::array<int, 3> counts{};
    for (int i = 0; i < 10'000; ++i) {
        ++counts.at(balancer.choose(usable)->index);
    }
    EXPECT_NEAR(counts[0], 6'000, 120);
    EXPECT_NEAR(counts[1], 2'000, 40);
    EXPECT_NEAR(counts[2], 2'000, 40);
}

TEST_F(BalancerTest, UsesTheNextPriorityOnlyWhenNothingBetterIsUsable)
{
    for (const auto policy :
         {Balancing::round_robin, Balancing::least_pending, Balancing::fastest}) {
        auto made = targets({1, 1, 1});
        made[0].priority = 5;
        made[2].priority = -1;
        Balancer balancer(policy, made, random_);
        const std::array<std::size_t, 3> all{0, 1, 2};
        EXPECT_EQ(balancer.choose(all)->index, 2U);
        EXPECT_EQ(balancer.choose(std::span(all).first(2))->index, 1U);
        EXPECT_EQ(balancer.choose(std::span(all).first(1))->index, 0U);
        EXPECT_FALSE(balancer.choose({}));
        const std::array<std::size_t, 1> unknown{9};
        EXPECT_FALSE(balancer.choose(unknown));
    }
}

TEST_F(BalancerTest, NeverChoosesWhatHasNoWeight)
{
    for (const auto policy :
         {Balancing::round_robin, Balancing::least_pending, Balancing::fastest}) {
        Balancer balancer(policy, targets({0, 1, 0}), random_);
        const auto usable = all_of(3);
        for (int i = 0; i < 20; ++i) {
            EXPECT_EQ(balancer.choose(usable)->index, 1U);
        }
        EXPECT_FALSE(balancer.choose(all_of(1)));
    }
}

TEST_F(BalancerTest, LeastPendingKeepsTheDifferenceSmall)
{
    const auto made = targets({1, 1, 1});
    Balancer balancer(Balancing::least_pending, made, random_);
    const auto usable = all_of(3);
    std::deque<Balancer::Choice> open;
    for (std::size_t i = 0; i < 5'000; ++i) {
        open.push_back(std::move(*balancer.choose(usable)));
        // They end out of order, some early, some late.
        const bool ends = open.size() > 20;
        if (ends) {
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(i * 7 % open.size()));
        }
        const auto [fewest, most] = std::minmax(
            {made[0].load->pending(), made[1].load->pending(), made[2].load->pending()});
        if (i > 20) {
            // One exchange that ends leaves its backend one below; choosing repairs before it widens.
            ASSERT_LE(most - fewest, 2U) << i;
        }
    }
}

TEST_F(BalancerTest, LeastPendingFollowsWeights)
{
    const auto made = targets({3, 1});
    Balancer balancer(Balancing::least_pending, made, random_);
    const auto usable = all_of(2);
    std::vector<Balancer::Choice> open;
    for (int i = 0; i < 40; ++i) {
        open.push_back(std::move(*balancer.choose(usable)));
    }
    EXPECT_EQ(made[0].load->pending(), 30U);
    EXPECT_EQ(made[1].load->pending(), 10U);
    open.clear();
    EXPECT_EQ(made[0].load->pending(), 0U);
    std::array<int, 2> idle{};
    for (int i = 0; i < 400; ++i) {
        ++idle.at(balancer.choose(usable)->index);
    }
    EXPECT_EQ(idle, (std::array<int, 2>{300, 100}));
}

TEST_F(BalancerTest, LeastPendingComparesTwoOfMany)
{
    constexpr std::size_t kMany = Balancer::kCompareAll + 4;
    const auto made = targets(std::vector<std::uint32_t>(kMany, 1));
    Balancer balancer(Balancing::least_pending, made, random_);
    const auto usable = all_of(kMany);
    const auto busy = made[3].load->begin();
    const auto busier = made[3].load->begin();
    std::array<int, kMany> counts{};
    for (int i = 0; i < 4'000; ++i) {
        ++counts.at(balancer.choose(usable)->index);
    }
    // Against any other the busy one loses; the others share evenly.
    EXPECT_EQ(counts[3], 0);
    for (std::size_t i = 0; i < kMany; ++i) {
        if (i != 3) {
            EXPECT_NEAR(counts.at(i), 4'000 / (static_cast<int>(kMany) - 1), 105) << i;
        }
    }
}

TEST_F(BalancerTest, LeastPendingIsExactUnderContention)
{
    const auto made = targets({1, 1, 1, 1});
    Balancer balancer(Balancing::least_pending, made, random_);
    const auto usable = all_of(4);
    std::vector<std::vector<Balancer::Choice>> open(4);
    std::vector<std::thread> threads;
    for (auto& mine : open) {
        threads.emplace_back([&balancer, &usable, &mine] {
            for (int i = 0; i < 500; ++i) {
                mine.push_back(std::move(*balancer.choose(usable)));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    for (const auto& target : made) {
        EXPECT_EQ(target.load->pending(), 500U);
    }
    open.clear();
    for (const auto& target : made) {
        EXPECT_EQ(target.load->pending(), 0U);
    }
}

/// Sends a request every 10 ms for `span`; gives the share that target 0 got in the last second.
double share_of_first(Balancer& balancer, const std::vector<Target>& targets,
                      core::ManualClock& clock, std::chrono::seconds span, core::Duration first,
                      core::Duration second)
{
    const auto usable = all_of(2);
    std::array<int, 2> counts{};
    const auto total = span / 10ms;
    for (std::int64_t i = 0; i < total; ++i) {
        const auto choice = balancer.choose(usable);
        targets[choice->index].load->succeeded(choice->index == 0 ? first : second);
        counts.at(choice->index) += i >= total - 100 ? 1 : 0;
        clock.advance(10ms);
    }
    return counts[0] / 100.0;
}

TEST_F(BalancerTest, FastestLeavesASlowBackendAndComesBack)
{
    const auto made = targets({1, 1});
    Balancer balancer(Balancing::fastest, made, random_);
    EXPECT_NEAR(share_of_first(balancer, made, clock_, 10s, 50ms, 50ms), 0.5, 0.03);
    const auto slowed = share_of_first(balancer, made, clock_, 5s, 500ms, 50ms);
    EXPECT_LT(slowed, 0.1);
    EXPECT_GT(slowed, 0.0);
    EXPECT_NEAR(share_of_first(balancer, made, clock_, 15s, 50ms, 50ms), 0.5, 0.1);
}

TEST_F(BalancerTest, FastestLeavesABackendThatFails)
{
    const auto made = targets({1, 1});
    Balancer balancer(Balancing::fastest, made, random_);
    const auto usable = all_of(2);
    std::array<int, 2> counts{};
    for (int i = 0; i < 1'000; ++i) {
        const auto choice = balancer.choose(usable);
        ++counts.at(choice->index);
        if (choice->index == 0) {
            made[0].load->failed();
        } else {
            made[1].load->succeeded(100ms);
        }
        clock_.advance(10ms);
    }
    EXPECT_LT(counts[0], 150);
    EXPECT_GT(counts[0], 10);
}

TEST_F(BalancerTest, FastestTriesWhatItKnowsNothingOf)
{
    const auto made = targets({1, 1, 1});
    made[0].load->succeeded(10ms);
    made[1].load->succeeded(100ms);
    Balancer balancer(Balancing::fastest, made, random_);
    const auto usable = all_of(3);
    std::array<int, 3> counts{};
    for (int i = 0; i < 1'000; ++i) {
        ++counts.at(balancer.choose(usable)->index);
    }
    EXPECT_NEAR(counts[0], counts[2], 40);
    EXPECT_NEAR(counts[1], 20, 8);
}

TEST_F(BalancerTest, FastestFollowsWeightsAtEqualSpeed)
{
    const auto made = targets({3, 1});
    Balancer balancer(Balancing::fastest, made, random_);
    EXPECT_NEAR(share_of_first(balancer, made, clock_, 5s, 20ms, 20ms), 0.75, 0.04);
}

TEST(BackendLoad, WeighsASampleByTheTimeSinceTheOneBefore)
{
    core::ManualClock clock;
    const auto load = std::make_shared<BackendLoad>(clock);
    EXPECT_FALSE(load->time_to_first_byte());
    EXPECT_DOUBLE_EQ(load->success_share(), 1.0);
    load->succeeded(100ms);
    EXPECT_EQ(load->time_to_first_byte(), 100ms);
    clock.advance(1h);
    load->succeeded(200ms);
    EXPECT_EQ(load->time_to_first_byte(), 150ms);
    load->succeeded(250ms);
    EXPECT_EQ(load->time_to_first_byte(), 151ms);
    load->failed();
    EXPECT_NEAR(load->success_share(), 0.99, 1e-9);
    clock.advance(1h);
    load->failed();
    EXPECT_NEAR(load->success_share(), 0.495, 1e-9);
}

TEST(BackendLoad, CountsWhatIsPendingExactly)
{
    const core::ManualClock clock;
    const auto load = std::make_shared<BackendLoad>(clock);
    auto first = load->begin();
    {
        auto second = load->begin();
        EXPECT_EQ(load->pending(), 2U);
        first = std::move(second);
        EXPECT_EQ(load->pending(), 1U);
    }
    EXPECT_EQ(load->pending(), 1U);
    first = BackendLoad::Pending();
    EXPECT_EQ(load->pending(), 0U);
}

}  // namespace
}  // namespace llmproxy::policy
