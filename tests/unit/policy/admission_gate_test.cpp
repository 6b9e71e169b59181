#include "llmproxy/policy/admission_gate.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace llmproxy::policy {
namespace {

using Permit = AdmissionGate::Permit;
using Verdict = AdmissionGate::Verdict;

AdmissionGate::Granted keep_in(std::vector<Permit>& permits)
{
    return [&permits](Permit permit) { permits.push_back(std::move(permit)); };
}

/// Takes the permits out first: a grant that follows may refill the vector.
void release_all(std::vector<Permit>& permits)
{
    const auto released = std::exchange(permits, {});
}

TEST(AdmissionGate, AdmitsUpToCapacityThenQueuesThenRefuses)
{
    AdmissionGate gate({1, 1});
    std::vector<Permit> granted;
    const auto first = gate.enter(keep_in(granted));
    const auto second = gate.enter(keep_in(granted));
    const auto third = gate.enter(keep_in(granted));
    EXPECT_EQ(first.verdict, Verdict::admitted);
    EXPECT_TRUE(first.permit);
    EXPECT_EQ(second.verdict, Verdict::queued);
    EXPECT_NE(second.ticket, AdmissionGate::Ticket::none);
    EXPECT_EQ(third.verdict, Verdict::refused);
    EXPECT_EQ(gate.active(), 1U);
    EXPECT_EQ(gate.queued(), 1U);
}

TEST(AdmissionGate, HandsAFreedSlotToTheOldestWaiter)
{
    AdmissionGate gate({1, 4});
    auto holder = gate.try_enter();
    std::vector<int> order;
    std::vector<Permit> permits;
    for (int i = 0; i < 3; ++i) {
        const auto entry = gate.enter([&order, &permits, i](Permit permit) {
            order.push_back(i);
            permits.push_back(std::move(permit));
        });
        ASSERT_EQ(entry.verdict, Verdict::queued);
    }
    holder.release();
    EXPECT_EQ(order, (std::vector<int>{0}));
    release_all(permits);
    EXPECT_EQ(order, (std::vector<int>{0, 1}));
    release_all(permits);
    release_all(permits);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
    EXPECT_EQ(gate.active(), 0U);
}

TEST(AdmissionGate, NeverCallsAWaiterThatLeft)
{
    AdmissionGate gate({1, 1});
    auto holder = gate.try_enter();
    bool called = false;
    const auto entry = gate.enter([&called](Permit) { called = true; });
    EXPECT_TRUE(gate.leave_queue(entry.ticket));
    EXPECT_FALSE(gate.leave_queue(entry.ticket));
    holder.release();
    EXPECT_FALSE(called);
    EXPECT_EQ(gate.active(), 0U);
    EXPECT_EQ(gate.queued(), 0U);
}

TEST(AdmissionGate, SaysWhenALeaverWasAlreadyGranted)
{
    AdmissionGate gate({1, 1});
    auto holder = gate.try_enter();
    std::vector<Permit> permits;
    const auto entry = gate.enter(keep_in(permits));
    holder.release();
    EXPECT_FALSE(gate.leave_queue(entry.ticket));
    EXPECT_EQ(gate.active(), 1U);
    release_all(permits);
    EXPECT_EQ(gate.active(), 0U);
}

TEST(AdmissionGate, PassesDroppedGrantsOnWithoutRecursing)
{
    AdmissionGate gate({1, 100'000});
    auto holder = gate.try_enter();
    int calls = 0;
    for (int i = 0; i < 100'000; ++i) {
        const auto entry = gate.enter([&calls](Permit) { ++calls; });
        ASSERT_EQ(entry.verdict, Verdict::queued);
    }
    holder.release();
    EXPECT_EQ(calls, 100'000);
    EXPECT_EQ(gate.active(), 0U);
    EXPECT_EQ(gate.queued(), 0U);
}

TEST(AdmissionGate, GrantsWhenLimitsGrowAndShrinksAsPermitsReturn)
{
    AdmissionGate gate({1, 2});
    auto holder = gate.try_enter();
    std::vector<Permit> permits;
    const auto second = gate.enter(keep_in(permits));
    const auto third = gate.enter(keep_in(permits));
    gate.set_limits({3, 2});
    EXPECT_EQ(permits.size(), 2U);
    EXPECT_EQ(gate.active(), 3U);
    gate.set_limits({1, 0});
    release_all(permits);
    EXPECT_EQ(gate.active(), 1U);
    EXPECT_FALSE(gate.try_enter());
    EXPECT_EQ(gate.enter(keep_in(permits)).verdict, Verdict::refused);
}

TEST(AdmissionGate, MayBeDestroyedBeforeItsPermits)
{
    std::optional<AdmissionGate> gate(std::in_place, AdmissionLimits{1, 1});
    auto holder = gate->try_enter();
    bool called = false;
    const auto entry = gate->enter([&called](Permit) { called = true; });
    EXPECT_EQ(entry.verdict, Verdict::queued);
    gate.reset();
    holder.release();
    EXPECT_FALSE(called);
}

TEST(AdmissionGate, LetsAWaiterOwnWhatHoldsItsPermit)
{
    AdmissionGate gate({1, 1});
    auto holder = gate.try_enter();
    const auto session = std::make_shared<Permit>();
    const auto entry = gate.enter([session](Permit permit) { *session = std::move(permit); });
    EXPECT_EQ(session.use_count(), 2);
    holder.release();
    EXPECT_EQ(session.use_count(), 1);
    EXPECT_TRUE(*session);
}

/// Each round enters, and when queued either waits for the grant or leaves at once, racing with it.
TEST(AdmissionGate, KeepsExactAccountsUnderContention)
{
    constexpr int kThreads = 4;
    constexpr int kRounds = 4'000;
    constexpr int kCapacity = 2;
    AdmissionGate gate({kCapacity, 3});
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::atomic<int> served{0};
    std::atomic<int> refused{0};
    std::atomic<int> left{0};
    std::barrier start(kThreads);

    const auto serve = [&](Permit permit) {
        const int now = ++inside;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {}
        ++served;
        --inside;
        permit.release();
    };
    const auto worker = [&](int seed) {
        start.arrive_and_wait();
        for (int i = 0; i < kRounds; ++i) {
            auto entry = gate.enter(serve);
            if (entry.verdict == Verdict::admitted) {
                std::this_thread::yield();
                serve(std::move(entry.permit));
            } else if (entry.verdict == Verdict::refused) {
                ++refused;
            } else if ((i + seed) % 2 == 0 && gate.leave_queue(entry.ticket)) {
                ++left;
            }
        }
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back(worker, t);
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(served + refused + left, kThreads * kRounds);
    EXPECT_LE(most, kCapacity);
    EXPECT_EQ(gate.active(), 0U);
    EXPECT_EQ(gate.queued(), 0U);
}

}  // namespace
}  // namespace llmproxy::policy
