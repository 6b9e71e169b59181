#include "llmproxy/pipeline/resources.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace llmproxy::pipeline {
namespace {

std::optional<ResourceHome> find(Resources& resources, const std::string& id)
{
    boost::asio::io_context context;
    auto found = boost::asio::co_spawn(context, resources.find(id), boost::asio::use_future);
    context.run();
    return found.get();
}

TEST(RecentResources, RemembersWhoHoldsWhat)
{
    RecentResources resources(10);
    EXPECT_TRUE(resources.empty());
    EXPECT_FALSE(find(resources, "a"));
    resources.learn("a", {"b1", 7});
    resources.learn("b", {"b2", 0});
    EXPECT_FALSE(resources.empty());
    EXPECT_EQ(find(resources, "a"), (ResourceHome{"b1", 7, 0}));
    EXPECT_EQ(find(resources, "b"), (ResourceHome{"b2", 0}));
    resources.learn("a", {"b3", 8});
    EXPECT_EQ(find(resources, "a"), (ResourceHome{"b3", 8})) << "the latest counts";
    EXPECT_EQ(resources.size(), 2U);
    resources.forget("a");
    resources.forget("never seen");
    EXPECT_FALSE(find(resources, "a"));
    EXPECT_EQ(resources.size(), 1U);
}

TEST(RecentResources, ForgetsWhatWasNotAskedForLongest)
{
    RecentResources resources(3);
    for (const auto* id : {"a", "b", "c"}) {
        resources.learn(id, {"b1", 0});
    }
    EXPECT_TRUE(find(resources, "a"));
    resources.learn("b", {"b2", 0});
    resources.learn("d", {"b1", 0});
    EXPECT_FALSE(find(resources, "c"));
    EXPECT_TRUE(find(resources, "a") && find(resources, "b") && find(resources, "d"));
}

TEST(RecentResources, FollowsItsLimit)
{
    RecentResources resources(100);
    for (int i = 0; i < 100; ++i) {
        resources.learn(std::to_string(i), {"b1", 0});
    }
    resources.set_limit(10);
    EXPECT_EQ(resources.size(), 10U);
    EXPECT_TRUE(find(resources, "99"));
    EXPECT_FALSE(find(resources, "89"));
    resources.set_limit(0);
    EXPECT_TRUE(resources.empty());
    resources.learn("x", {"b1", 0});
    EXPECT_TRUE(resources.empty());
}

TEST(RecentResources, MayBeUsedByManyThreads)
{
    RecentResources resources(50);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&resources, t] {
            for (int i = 0; i < 500; ++i) {
                const auto id = std::to_string((i * 7 + t) % 80);
                resources.learn(id, {"b1", static_cast<std::uint64_t>(t)});
                const auto home = find(resources, id);
                EXPECT_TRUE(!home || home->backend == "b1");
                if (i % 3 == 0) {
                    resources.forget(id);
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_LE(resources.size(), 50U);
}

}  // namespace
}  // namespace llmproxy::pipeline
