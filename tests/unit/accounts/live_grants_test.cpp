#include "llmproxy/accounts/live_grants.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace llmproxy::accounts {
namespace {

using core::ProjectId;
using core::TokenId;
using Registration = LiveGrants::Registration;

/// A registry and an event loop that runs when told to.
class LiveGrantsTest : public testing::Test {
protected:
    Registration add(std::int64_t token, std::int64_t project)
    {
        return grants.add(TokenId{token}, ProjectId{project}, io.get_executor(),
                          [this] { ++cancelled; });
    }
    int run()
    {
        cancelled = 0;
        io.restart();
        io.run();
        return cancelled;
    }

    boost::asio::io_context io;
    LiveGrants grants;
    int cancelled = 0;
};

TEST_F(LiveGrantsTest, CancelsWhatIsUnderWayForAToken)
{
    const auto one = add(1, 1);
    const auto again = add(1, 1);
    const auto other = add(2, 1);
    EXPECT_EQ(grants.cancel(TokenId{1}), 2U);
    EXPECT_EQ(cancelled, 0);  // only on its executor
    EXPECT_EQ(run(), 2);
    EXPECT_EQ(grants.cancel(TokenId{3}), 0U);
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(grants.size(), 3U);
}

TEST_F(LiveGrantsTest, CancelsWhatIsUnderWayForAProject)
{
    const auto one = add(1, 1);
    const auto two = add(2, 1);
    const auto other = add(3, 2);
    EXPECT_EQ(grants.cancel(ProjectId{1}), 2U);
    EXPECT_EQ(run(), 2);
}

TEST_F(LiveGrantsTest, CallsNobodyWhoHasEnded)
{
    auto ended = add(1, 1);
    ended.end();
    ended.end();
    EXPECT_FALSE(ended);
    EXPECT_EQ(grants.size(), 0U);
    EXPECT_EQ(grants.cancel(TokenId{1}), 0U);
    {
        const auto soon = add(1, 1);
        EXPECT_EQ(grants.cancel(TokenId{1}), 1U);
    }
    EXPECT_EQ(run(), 0);
}

TEST_F(LiveGrantsTest, MovesWithItsOwner)
{
    auto first = add(1, 1);
    auto second = add(2, 2);
    second = std::move(first);
    EXPECT_EQ(grants.size(), 1U);
    EXPECT_EQ(grants.cancel(TokenId{2}), 0U);
    EXPECT_EQ(grants.cancel(TokenId{1}), 1U);
    EXPECT_EQ(run(), 1);
    second.cancel();
    EXPECT_EQ(run(), 1);
    Registration().cancel();
    EXPECT_EQ(run(), 0);
}

TEST_F(LiveGrantsTest, MayBeUsedFromEverywhereAtOnce)
{
    auto work = boost::asio::make_work_guard(io);
    std::thread loop([this] { io.run(); });
    std::atomic<int> calls{0};
    std::array<std::thread, 3> threads;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t] = std::thread([this, t, &calls] {
            for (int i = 0; i < 500; ++i) {
                std::vector<Registration> mine;
                for (int n = 0; n < 4; ++n) {
                    mine.push_back(grants.add(TokenId{n}, ProjectId{1},
                                              boost::asio::make_strand(io), [&calls] { ++calls; }));
                }
                EXPECT_GE(grants.cancel(TokenId{static_cast<std::int64_t>(t)}), 1U);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    work.reset();
    loop.join();
    EXPECT_EQ(grants.size(), 0U);
}

}  // namespace
}  // namespace llmproxy::accounts
