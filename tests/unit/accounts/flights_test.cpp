#include "accounts/flights.hpp"

#include "access.hpp"
#include "unit/net/loop.hpp"

#include <boost/asio/this_coro.hpp>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

namespace llmproxy::accounts {
namespace {

using namespace std::chrono_literals;
using Value = std::optional<Flights::Value>;

/// Takes a seat that is no lead, and waits.
core::Task<Value> follow(Flights& flights, core::Sha256 hash, core::Deadline deadline)
{
    const auto strand = co_await boost::asio::this_coro::executor;
    auto seat = flights.join(hash, strand);
    EXPECT_FALSE(seat.lead);
    co_return co_await seat.arrival(deadline);
}

/// Flights, of which this test has one lead.
class FlightsTest : public testing::Test {
protected:
    std::vector<std::future<Value>> follow_many(int count, core::Deadline deadline = {})
    {
        std::vector<std::future<Value>> futures;
        for (int i = 0; i < count; ++i) {
            futures.push_back(loop.start(follow(flights, hash, deadline)));
        }
        while (flights.waiting() < static_cast<std::size_t>(count)) {
            std::this_thread::yield();
        }
        return futures;
    }

    const core::Sha256 hash = core::sha256("token");
    Flights flights;
    net::test::Loop loop;
};

TEST_F(FlightsTest, GiveEverybodyWhatOneFound)
{
    auto seat = flights.join(hash, loop.io().get_executor());
    ASSERT_TRUE(seat.lead);
    auto futures = follow_many(20);
    const auto account = test::account(1);
    seat.lead->land(Flights::Value(account));
    for (auto& future : futures) {
        const auto value = future.get();
        ASSERT_TRUE(value && *value);
        EXPECT_EQ(**value, account);
    }
    EXPECT_TRUE(flights.join(hash, loop.io().get_executor()).lead);
}

TEST_F(FlightsTest, GiveFailuresToo)
{
    auto seat = flights.join(hash, loop.io().get_executor());
    auto futures = follow_many(1);
    seat.lead->land(core::Failure(core::Errc::store_unavailable, core::Origin::self));
    const auto value = futures.front().get();
    ASSERT_TRUE(value);
    EXPECT_EQ(value->error().errc(), core::Errc::store_unavailable);
}

TEST_F(FlightsTest, LetTheOthersBeginAgainWhenTheLeaderGivesUp)
{
    std::vector<std::future<Value>> futures;
    {
        auto seat = flights.join(hash, loop.io().get_executor());
        futures = follow_many(3);
        auto moved = std::move(*seat.lead);
    }
    for (auto& future : futures) {
        EXPECT_FALSE(future.get());
    }
    EXPECT_TRUE(flights.join(hash, loop.io().get_executor()).lead);
}

TEST_F(FlightsTest, EndAWaitAtItsDeadline)
{
    auto seat = flights.join(hash, loop.io().get_executor());
    ASSERT_TRUE(seat.lead);
    const auto value =
        loop.run(follow(flights, hash, core::Deadline(std::chrono::steady_clock::now() - 1ms)));
    EXPECT_FALSE(value);
    seat.lead->land(std::nullopt);
}

TEST_F(FlightsTest, KeepTokensApart)
{
    const auto one = flights.join(hash, loop.io().get_executor());
    const auto other = flights.join(core::sha256("other"), loop.io().get_executor());
    EXPECT_TRUE(one.lead && other.lead);
}

}  // namespace
}  // namespace llmproxy::accounts
