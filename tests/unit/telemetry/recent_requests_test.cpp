#include "llmproxy/telemetry/recent_requests.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::telemetry {
namespace {

AccessRecord record(int number, std::string_view outcome = "ok")
{
    AccessRecord made;
    made.request_id = "r" + std::to_string(number);
    made.outcome = outcome;
    return made;
}

bool any(const AccessRecord&)
{
    return true;
}

bool failed(const AccessRecord& one)
{
    return one.outcome != "ok";
}

std::vector<std::string> ids(const std::vector<RecentRequests::Entry>& entries)
{
    std::vector<std::string> all;
    for (const auto& entry : entries) {
        all.push_back(entry.record.request_id);
    }
    return all;
}

using Ids = std::vector<std::string>;

TEST(RecentRequests, ShowsTheNewestFirstPageByPage)
{
    RecentRequests recent(10);
    for (int i = 1; i <= 5; ++i) {
        recent.keep(record(i));
    }
    const auto first = recent.newest(recent.next(), 2, any);
    EXPECT_EQ(ids(first), (Ids{"r5", "r4"}));
    EXPECT_EQ(first.back().number, 4U);
    EXPECT_EQ(ids(recent.newest(first.back().number, 9, any)), (Ids{"r3", "r2", "r1"}));
    EXPECT_TRUE(recent.newest(1, 9, any).empty());
    EXPECT_TRUE(recent.newest(0, 9, any).empty());
}

TEST(RecentRequests, ForgetsTheOldest)
{
    RecentRequests recent(3);
    for (int i = 1; i <= 5; ++i) {
        recent.keep(record(i, i == 4 ? "draining" : "ok"));
    }
    EXPECT_EQ(ids(recent.newest(~0ULL, 9, any)), (Ids{"r5", "r4", "r3"}));
    EXPECT_EQ(ids(recent.newest(~0ULL, 9, failed)), (Ids{"r4"}));
    EXPECT_FALSE(recent.find("r2"));
    EXPECT_EQ(recent.find("r3")->number, 3U);
}

TEST(RecentRequests, FindsTheNewestOfAnId)
{
    RecentRequests recent(10);
    recent.keep(record(1, "draining"));
    recent.keep(record(1));
    EXPECT_EQ(recent.find("r1")->record.outcome, "ok");
}

TEST(RecentRequests, FollowsWhatComesAndCountsWhatWasMissed)
{
    RecentRequests recent(3);
    auto number = recent.next();
    for (int i = 1; i <= 2; ++i) {
        recent.keep(record(i, i == 2 ? "draining" : "ok"));
    }
    auto batch = recent.since(number, 9, failed);
    EXPECT_EQ(ids(batch.entries), (Ids{"r2"}));
    EXPECT_EQ(batch.missed, 0U);
    EXPECT_TRUE(recent.since(batch.next, 9, any).entries.empty());
    for (int i = 3; i <= 9; ++i) {
        recent.keep(record(i));
    }
    batch = recent.since(batch.next, 2, any);
    EXPECT_EQ(batch.missed, 4U);
    EXPECT_EQ(ids(batch.entries), (Ids{"r7", "r8"}));
    batch = recent.since(batch.next, 2, any);
    EXPECT_EQ(batch.missed, 0U);
    EXPECT_EQ(ids(batch.entries), (Ids{"r9"}));
}

TEST(RecentRequests, KeepsNothingWhenOff)
{
    RecentRequests recent(0);
    auto one = record(1);
    recent.keep(std::move(one));
    EXPECT_EQ(recent.next(), 1U);
    EXPECT_TRUE(recent.newest(9, 9, any).empty());
    EXPECT_FALSE(recent.find("r1"));
    EXPECT_TRUE(recent.since(0, 9, any).entries.empty());
}

TEST(RecentRequests, TextsFromOutsideTakeBoundedMemory)
{
    RecentRequests recent(1);
    auto one = record(1);
    one.model = std::string(1'000'000, 'm');
    one.path = std::string(30'000, '/');
    one.user_agent = std::string(500, 'u');
    recent.keep(std::move(one));
    const auto kept = recent.find("r1")->record;
    EXPECT_EQ(kept.model.size(), 512U);
    EXPECT_EQ(kept.path.size(), 2048U);
    EXPECT_EQ(kept.user_agent.size(), 500U);
    EXPECT_LE(sizeof(AccessRecord), 1024U);
}

TEST(RecentRequests, ManyThreadsKeepWhileOthersRead)
{
    constexpr int kThreads = 4;
    constexpr int kEach = 5000;
    RecentRequests recent(64);
    std::atomic<bool> done{false};
    std::uint64_t followed = 0;
    auto number = recent.next();  // before anybody writes, however late the reader begins
    std::thread reader([&] {
        for (bool last = false; !last;) {
            last = done;
            const auto batch = recent.since(number, 16, any);
            followed += batch.entries.size() + batch.missed;
            number = batch.next;
            last = last && number == recent.next();
            for (const auto& entry : recent.newest(recent.next(), 8, any)) {
                EXPECT_FALSE(entry.record.request_id.empty());
            }
        }
    });
    std::vector<std::thread> writers;
    for (int t = 0; t < kThreads; ++t) {
        writers.emplace_back([&recent, t] {
            for (int i = 0; i < kEach; ++i) {
                recent.keep(record(t * kEach + i));
            }
        });
    }
    for (auto& thread : writers) {
        thread.join();
    }
    done = true;
    reader.join();
    EXPECT_EQ(followed, std::uint64_t{kThreads} * kEach);
    const auto last = recent.newest(recent.next(), 1000, any);
    EXPECT_EQ(last.size(), 64U);
    std::set<std::string> distinct;
    for (const auto& entry : last) {
        distinct.insert(entry.record.request_id);
    }
    EXPECT_EQ(distinct.size(), 64U);
}

}  // namespace
}  // namespace llmproxy::telemetry
