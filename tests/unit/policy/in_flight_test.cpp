#include "llmproxy/policy/in_flight.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

TEST(InFlight, GivesAsManyPlacesAsThereAreAndTakesThemBack)
{
    InFlight limiter(2);
    auto first = limiter.try_enter();
    auto second = limiter.try_enter();
    EXPECT_TRUE(first && second);
    EXPECT_FALSE(limiter.try_enter());
    first.release();
    first.release();
    EXPECT_EQ(limiter.used(), 1U);
    auto third = limiter.try_enter();
    EXPECT_TRUE(third);
    third = std::move(second);
    EXPECT_EQ(limiter.used(), 1U);
    EXPECT_FALSE(second);  // NOLINT(bugprone-use-after-move): a moved place is empty
}

TEST(InFlight, FollowsItsCeiling)
{
    InFlight limiter(0);
    EXPECT_FALSE(limiter.try_enter());
    limiter.set_ceiling(InFlight::kNoLimit);
    std::vector<InFlight::Place> places;
    for (int i = 0; i < 10; ++i) {
        places.push_back(limiter.try_enter());
    }
    limiter.set_ceiling(5);
    EXPECT_FALSE(limiter.try_enter());
    places.resize(5);
    EXPECT_FALSE(limiter.try_enter());
    places.pop_back();
    EXPECT_TRUE(limiter.try_enter());
}

TEST(InFlight, NeverHoldsMoreThanItsCeilingUnderContention)
{
    InFlight limiter(3);
    std::atomic<int> inside{0};
    std::array<std::thread, 4> threads;
    for (auto& thread : threads) {
        thread = std::thread([&] {
            for (int i = 0; i < 20'000; ++i) {
                if (const auto place = limiter.try_enter()) {
                    EXPECT_LE(++inside, 3);
                    --inside;
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(limiter.used(), 0U);
}

TEST(InFlight, AdmitsExactlyItsCeilingOfManyAtOnce)
{
    InFlight limiter(10);
    std::array<std::vector<InFlight::Place>, 4> kept;
    std::array<std::thread, 4> threads;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t] = std::thread([&limiter, &mine = kept[t]] {
            for (int i = 0; i < 50; ++i) {
                if (auto place = limiter.try_enter()) {
                    mine.push_back(std::move(place));
                }
            }
        });
    }
    std::size_t admitted = 0;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t].join();
        admitted += kept[t].size();
    }
    EXPECT_EQ(admitted, 10U);
}

}  // namespace
}  // namespace llmproxy::policy
