#include "llmproxy/net/worker_demand.hpp"

#include <gtest/gtest.h>

namespace llmproxy::net {
namespace {

using namespace std::chrono_literals;

/// Looks for `time`, at the pace that the demand asks for, at threads that have `work` threads' worth to do.
unsigned after(WorkerDemand& demand, double work, core::Duration time)
{
    for (core::Duration passed{0}; passed < time; passed += demand.pause()) {
        const auto step = demand.pause();
        demand.look(std::chrono::duration_cast<core::Duration>(step * work), step);
    }
    return demand.running();
}

TEST(WorkerDemand, BeginsWithOne)
{
    EXPECT_EQ(WorkerDemand(8).running(), 1U);
    EXPECT_EQ(WorkerDemand(0).running(), 1U);
}

TEST(WorkerDemand, OneThreadIsEnoughForWorkThatItHasTimeFor)
{
    WorkerDemand demand(8);
    EXPECT_EQ(after(demand, 0.55, 10s), 1U);
}

TEST(WorkerDemand, GrowsAtTheFirstLookAtAFullPool)
{
    WorkerDemand demand(8);
    EXPECT_EQ(demand.look(18ms, 20ms), 2U);
    EXPECT_EQ(demand.look(36ms, 20ms), 4U);
    EXPECT_EQ(demand.look(70ms, 20ms), 8U);
    EXPECT_EQ(demand.look(160ms, 20ms), 8U);
}

TEST(WorkerDemand, NeverGrowsPastItsThreads)
{
    WorkerDemand demand(3);
    EXPECT_EQ(after(demand, 5, 1s), 3U);
    WorkerDemand single(1);
    EXPECT_EQ(after(single, 5, 1s), 1U);
}

TEST(WorkerDemand, ShrinksOneByOneOnceFewerWouldDo)
{
    WorkerDemand demand(4);
    ASSERT_EQ(after(demand, 4, 200ms), 4U);
    EXPECT_EQ(after(demand, 1.2, 400ms), 4U) << "a short calm changes nothing";
    EXPECT_EQ(after(demand, 1.2, 10s), 3U) << "1.2 threads' worth fills two by more than the half";
    EXPECT_EQ(after(demand, 0.1, 10s), 1U);
}

TEST(WorkerDemand, ABurstWithinACalmDoesNotKeepThreadsForLong)
{
    WorkerDemand demand(2);
    ASSERT_EQ(demand.look(40ms, 20ms), 2U);
    for (int i = 0; i < 200; ++i) {
        demand.look(i % 10 == 0 ? 12ms : 6ms, 20ms);
    }
    EXPECT_EQ(demand.running(), 1U);
}

TEST(WorkerDemand, LooksRarelyOnlyWhileOneThreadHasNextToNothingToDo)
{
    WorkerDemand demand(2);
    EXPECT_EQ(demand.pause(), 100ms);
    demand.look(10ms, 100ms);
    EXPECT_EQ(demand.pause(), 20ms);
    demand.look(100us, 20ms);
    EXPECT_EQ(demand.pause(), 100ms);
}

TEST(WorkerDemand, ALookWithoutTimeBetweenSaysNothing)
{
    WorkerDemand demand(2);
    EXPECT_EQ(demand.look(1s, 0s), 1U);
}

}  // namespace
}  // namespace llmproxy::net
