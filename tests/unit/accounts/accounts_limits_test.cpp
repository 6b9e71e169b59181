#include "spending_fixture.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using namespace std::chrono_literals;
using core::Errc;

class AccountsLimitsTest : public SpendingFixture {};

TEST_F(AccountsLimitsTest, RefuseRequestsPastTheTokensLimitWithTheLinesThatClientsRead)
{
    set_limits(token.row.id, {per_minute(2), per_minute(1, "embeddings")});
    begin();
    const auto account = account_of(token);
    auto first = admit(account);
    ASSERT_TRUE(first);
    std::string lines;
    first->append_ratelimit_lines(lines);
    EXPECT_EQ(lines, "x-ratelimit-limit-requests: 2\r\nx-ratelimit-remaining-requests: 1\r\n"
                     "x-ratelimit-reset-requests: 30s\r\n");
    EXPECT_TRUE(admit(account));
    const auto refused = admit(account);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::rate_limit_exceeded);
    EXPECT_EQ(refused.error().message(),
              "Rate limit reached: this token may have 2 requests per minute.");
    EXPECT_EQ(fields_, "Retry-After: 30\r\nx-ratelimit-limit-requests: 2\r\n"
                       "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1m0s\r\n");
    EXPECT_TRUE(admit(account, "embeddings"));
    EXPECT_FALSE(admit(account, "embeddings"));
    clock_->advance(30s);
    EXPECT_TRUE(admit(account));
}

TEST_F(AccountsLimitsTest, ShareAProjectsLimitAmongItsTokens)
{
    set_limits(project, {per_minute(3)});
    const auto other = make_token(project, "other");
    set_limits(other.row.id, {per_minute(2)});
    begin();
    EXPECT_TRUE(admit(account_of(token)));
    EXPECT_TRUE(admit(account_of(token)));
    EXPECT_TRUE(admit(account_of(other)));
    const auto refused = admit(account_of(other));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message(),
              "Rate limit reached: this project may have 3 requests per minute.");
    clock_->advance(20s);
    EXPECT_TRUE(admit(account_of(other)));  // the refused one took nothing of the token's own
}

TEST_F(AccountsLimitsTest, CapRequestsAndTunnelsAtOnce)
{
    storage::LimitRow row;
    row.concurrent_requests = 1;
    row.tunnels = 1;
    set_limits(token.row.id, {row});
    begin();
    const auto account = account_of(token);
    auto request = admit(account);
    auto tunnel = admit(account, "connect", true);
    EXPECT_TRUE(request && tunnel);
    EXPECT_FALSE(admit(account));
    EXPECT_EQ(fields_, "Retry-After: 1\r\n");
    EXPECT_FALSE(admit(account, "connect", true));
    *request = Grant();
    EXPECT_TRUE(admit(account));
}

TEST_F(AccountsLimitsTest, CountBytesOnceHoweverTheyAreTold)
{
    storage::LimitRow row;
    row.bytes_per_minute = 1000;
    set_limits(project, {row});
    begin();
    const auto account = account_of(token);
    auto tunnel = admit(account, "connect", true);
    ASSERT_TRUE(tunnel);
    tunnel->charge_bytes(600);
    auto last = attempt(0, 0);
    last.row.bytes_in = 700;
    last.row.bytes_out = 300;
    ASSERT_TRUE(settle(*tunnel, {last}));
    EXPECT_TRUE(admit(account));
    tunnel->charge_bytes(100);
    const auto refused = admit(account);
    ASSERT_FALSE(refused);
    EXPECT_EQ(fields_, "Retry-After: 6\r\n");
}

TEST_F(AccountsLimitsTest, TakeTokensPerMinuteBeforehandAndCorrectThemAfterwards)
{
    storage::LimitRow row;
    row.tokens_per_minute = 300;
    set_limits(token.row.id, {row});
    begin();
    auto first = request();
    auto second = request();
    ASSERT_TRUE(first && second);
    EXPECT_FALSE(request());
    EXPECT_NE(fields_.find("Retry-After: 30\r\nx-ratelimit-limit-tokens: 300\r\n"
                           "x-ratelimit-remaining-tokens: 0\r\n"),
              std::string::npos);
    first.begin_attempt({"m", "openai", "openai"});
    ASSERT_TRUE(settle(first, {attempt(30, 20)}));
    EXPECT_FALSE(request());
    EXPECT_TRUE(request(shape(50, 50)));
    second.cancel();
    EXPECT_TRUE(request());
}

TEST_F(AccountsLimitsTest, SayThatARequestIsTooLargeForEver)
{
    storage::LimitRow row;
    row.tokens_per_minute = 0;
    set_limits(token.row.id, {row});
    begin();
    EXPECT_FALSE(request());
    EXPECT_EQ(fields_.find("Retry-After"), std::string::npos);
    EXPECT_EQ(fields_.find("x-should-retry: false\r\n"), 0U);
}

}  // namespace
}  // namespace llmproxy::accounts::test
