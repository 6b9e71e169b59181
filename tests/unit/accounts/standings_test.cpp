#include "accounts/standings.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace llmproxy::accounts {
namespace {

storage::Subject subject(std::int64_t number)
{
    return core::TokenId{number};
}

std::shared_ptr<Standing> take(Standings& standings, std::int64_t number)
{
    const auto found = standings.find(subject(number));
    return found.standing
               ? found.standing
               : standings.adopt(std::make_shared<Standing>(subject(number)), found.mark);
}

TEST(Standings, AreOnePerSubject)
{
    Standings standings(100);
    EXPECT_EQ(standings.find(subject(1)).standing, nullptr);
    const auto first = take(standings, 1);
    EXPECT_EQ(take(standings, 1), first);
    EXPECT_NE(take(standings, 2), first);
    const auto project = standings.find(core::ProjectId{1});
    EXPECT_EQ(project.standing, nullptr);
    EXPECT_EQ(standings.size(), 2U);
}

TEST(Standings, GiveTheFirstToAllThatComeTogether)
{
    Standings standings(100);
    const auto found = standings.find(subject(1));
    const auto first = standings.adopt(std::make_shared<Standing>(subject(1)), found.mark);
    EXPECT_EQ(standings.adopt(std::make_shared<Standing>(subject(1)), found.mark), first);
}

TEST(Standings, LetGoOfWhatNobodyUsesPastTheirCapacity)
{
    Standings standings(320);
    std::vector<std::shared_ptr<Standing>> used;
    for (std::int64_t i = 0; i < 50; ++i) {
        used.push_back(take(standings, i));
    }
    const auto ahead = take(standings, 50).get();
    ahead->set_ahead_of_store(true);
    for (std::int64_t i = 100; i < 5000; ++i) {
        EXPECT_NE(take(standings, i), nullptr);
    }
    EXPECT_LE(standings.size(), 320U + 64 + 51);
    for (std::int64_t i = 0; i < 50; ++i) {
        EXPECT_EQ(standings.find(subject(i)).standing, used[static_cast<std::size_t>(i)]);
    }
    EXPECT_EQ(standings.find(subject(50)).standing.get(), ahead);
}

TEST(Standings, TakeNothingInThatTheStoreWasAskedForBeforeOneWasLetGo)
{
    Standings standings(0);  // one in each part
    const auto seen = standings.find(subject(1));
    // The same part: while this one lived it may have spent what the answer for the other did not know.
    for (std::int64_t i = 2; i < 2000; ++i) {
        EXPECT_NE(take(standings, i), nullptr);
    }
    EXPECT_EQ(standings.adopt(std::make_shared<Standing>(subject(1)), seen.mark), nullptr);
    EXPECT_NE(take(standings, 1), nullptr);
}

TEST(Standings, AreFewEnoughUnderContention)
{
    Standings standings(64);
    std::atomic<int> again{0};
    std::array<std::thread, 4> threads;
    for (auto& thread : threads) {
        thread = std::thread([&] {
            for (std::int64_t i = 0; i < 3000; ++i) {
                auto standing = take(standings, i % 500);
                if (!standing) {
                    ++again;
                } else {
                    EXPECT_EQ(standing->subject(), subject(i % 500));
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_LE(standings.size(), 500U);
}

}  // namespace
}  // namespace llmproxy::accounts
