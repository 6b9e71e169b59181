#include "llmproxy/policy/key_ring.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;

TEST(KeyRing, TakesKeysInTurn)
{
    const core::ManualClock clock;
    KeyRing ring(3, clock);
    std::vector<std::size_t> order;
    for (int i = 0; i < 6; ++i) {
        order.push_back(ring.next());
    }
    EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 0, 1, 2}));
}

TEST(KeyRing, SharesEvenlyAmongTheKeysThatDoNotRest)
{
    core::ManualClock clock;
    KeyRing ring(4, clock);
    ring.cool(1, 10s);
    std::array<int, 4> counts{};
    for (int i = 0; i < 300; ++i) {
        ++counts.at(ring.next());
    }
    EXPECT_EQ(counts, (std::array<int, 4>{100, 0, 100, 100}));
    clock.advance(10s);
    EXPECT_FALSE(ring.is_cooling(1));
    for (int i = 0; i < 4; ++i) {
        ++counts.at(ring.next());
    }
    EXPECT_EQ(counts.at(1), 1);
}

TEST(KeyRing, TakesTheOneWhoseRestEndsFirstWhenAllRest)
{
    const core::ManualClock clock;
    KeyRing ring(3, clock);
    ring.cool(0, 30s);
    ring.cool(1, 5s);
    ring.cool(2, 60s);
    EXPECT_EQ(ring.next(), 1U);
    EXPECT_EQ(ring.next(), 1U);
    EXPECT_EQ(ring.next(1), 0U);
    EXPECT_EQ(ring.shortest_rest(), 5s);
    EXPECT_FALSE(ring.has_other(1));
    ring.warm(2);
    EXPECT_TRUE(ring.has_other(1));
    EXPECT_EQ(ring.next(), 2U);
    EXPECT_EQ(ring.shortest_rest(), 0s);
}

TEST(KeyRing, LeavesOutTheKeyThatWasJustRefused)
{
    const core::ManualClock clock;
    KeyRing ring(2, clock);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(ring.next(0), 1U);
        EXPECT_EQ(ring.next(1), 0U);
    }
}

TEST(KeyRing, KeepsALongerRest)
{
    core::ManualClock clock;
    KeyRing ring(2, clock);
    ring.cool(0, 60s);
    ring.cool(0, 1s);
    ring.cool(0, -5s);
    clock.advance(59s);
    EXPECT_TRUE(ring.is_cooling(0));
    ring.cool(1, core::Duration::max());
    EXPECT_TRUE(ring.is_cooling(1));
}

TEST(KeyRing, HasKeyZeroEvenWithoutKeys)
{
    const core::ManualClock clock;
    KeyRing none(0, clock);
    none.cool(0, 10s);
    none.warm(0);
    EXPECT_EQ(none.next(), 0U);
    EXPECT_FALSE(none.has_other(0));
    EXPECT_EQ(none.shortest_rest(), 0s);
    KeyRing one(1, clock);
    one.cool(0, 10s);
    EXPECT_EQ(one.next(0), 0U);
    EXPECT_FALSE(one.has_other(0));
}

TEST(KeyRing, MayBeUsedByManyThreads)
{
    core::ManualClock clock;
    KeyRing ring(3, clock);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&ring, &clock, t] {
            for (int i = 0; i < 3'000; ++i) {
                const auto key = ring.next();
                EXPECT_LT(key, 3U);
                EXPECT_NE(ring.next(key), key);
                if (t == 0) {
                    ring.cool(key, 5us);
                } else if (t == 1) {
                    ring.warm(key);
                }
                clock.advance(1us);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
}

}  // namespace
}  // namespace llmproxy::policy
