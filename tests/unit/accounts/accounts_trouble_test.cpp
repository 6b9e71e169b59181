#include "spending_fixture.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using core::Errc;
using core::NanoUsd;

class AccountsTroubleTest : public SpendingFixture {};

TEST_F(AccountsTroubleTest, RefuseAtAdmissionWhatTheStoreCannotRecord)
{
    StaticAccount fixed;
    fixed.name = "fixed";
    fixed.hash = core::sha256("fixed-token-of-the-test");
    static_accounts_.push_back(fixed);
    begin();
    const auto stored = account_of(token);
    const auto named = look_up("fixed-token-of-the-test");
    ASSERT_TRUE(named);
    gate_->works = false;
    for (const auto& account : {stored, *named}) {
        for (const bool tunnel : {false, true}) {
            const auto refused = admit(account, tunnel ? "connect" : "chat_completions", tunnel);
            ASSERT_FALSE(refused);
            EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
            EXPECT_EQ(refused.error().detail(), "no space");
        }
    }
    gate_->works = true;
    EXPECT_TRUE(admit(stored));
    EXPECT_TRUE(admit(stored, "connect", true)) << "nothing was used up";
}

TEST_F(AccountsTroubleTest, AccountForATunnelWhoseEndNobodySaw)
{
    begin();
    {
        auto seen = admit(account_of(token), "connect", true);
        ASSERT_TRUE(seen);
        ASSERT_TRUE(wait(accounts_->note(*seen, "seen.example:443")));
        auto ended = Attempt();
        ended.row.host = "seen.example:443";
        ended.row.outcome = "ok";
        ended.row.bytes_in = 5;
        ASSERT_TRUE(settle(*seen, {ended}));

        auto unseen = admit(account_of(token), "connect", true);
        ASSERT_TRUE(unseen);
        ASSERT_TRUE(wait(accounts_->note(*unseen, "unseen.example:443")));

        auto never = admit(account_of(token), "connect", true);
        ASSERT_TRUE(never);
        ASSERT_TRUE(wait(accounts_->note(*never, "never.example:443")));
        never->cancel();
    }
    close();  // writes what is queued
    open();
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 2U);
    for (const auto& row : rows) {
        const bool seen = row.host == "seen.example:443";
        EXPECT_EQ(row.outcome, seen ? "ok" : storage::kIndeterminate);
        EXPECT_EQ(row.host, seen ? "seen.example:443" : "unseen.example:443");
        EXPECT_EQ(row.route, "connect");
        EXPECT_EQ(row.requested_model, "");
        EXPECT_EQ(row.cost, NanoUsd{});
        EXPECT_EQ(row.token, token.row.id);
    }
}

TEST_F(AccountsTroubleTest, BeginNoTunnelThatTheStoreCannotRecord)
{
    begin();
    std::vector<Grant> grants;
    for (int i = 0; i < 256; ++i) {
        grants.push_back(request(shape(1, 1)));
        ASSERT_TRUE(grants.back());
    }
    auto grant = admit(account_of(token), "connect", true);
    ASSERT_TRUE(grant);
    EXPECT_EQ(wait(accounts_->note(*grant, "a.example:443")).error().errc(), Errc::overloaded);
    grants.pop_back();
    EXPECT_TRUE(wait(accounts_->note(*grant, "a.example:443")));
    EXPECT_TRUE(settle(*grant, {}));
}

TEST_F(AccountsTroubleTest, SendNothingThatTheStoreCannotRecord)
{
    begin();
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    gate_->works = false;
    const auto refused = reserve(*grant, shape(100, 50));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::store_unavailable);
    EXPECT_EQ(refused.error().detail(), "no space");
    EXPECT_EQ(month_of(project).reserved, Amount{});
    gate_->works = true;
    EXPECT_TRUE(reserve(*grant, shape(100, 50)));
}

TEST_F(AccountsTroubleTest, CountWhatTheStoreCouldNotWrite)
{
    settings_.token_cache.size = 1;
    set_budget(token.row.id, monthly(1000));
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    grant.begin_attempt({"m", "openai", "openai"});
    gate_->settles = false;
    const auto settled = settle(grant, {attempt(0, 60)});
    ASSERT_FALSE(settled);
    EXPECT_EQ(settled.error().errc(), Errc::store_unavailable);
    grant = Grant();
    for (int i = 0; i < 200; ++i) {  // the account is forgotten, what it has spent is not
        (void)account_of(make_token(project, "other " + std::to_string(i)));
    }
    EXPECT_EQ(month_of(token.row.id).spent.cost, NanoUsd{600});
    EXPECT_FALSE(request());
}

TEST_F(AccountsTroubleTest, LetNothingPassWhenAllReservationsAreTaken)
{
    set_budget(token.row.id, monthly(1'000'000));
    begin();
    std::vector<Grant> grants;
    for (int i = 0; i < 256; ++i) {
        grants.push_back(request(shape(1, 1)));
        ASSERT_TRUE(grants.back());
    }
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    EXPECT_EQ(reserve(*grant, shape(1, 1)).error().errc(), Errc::overloaded);
    EXPECT_EQ(month_of(token.row.id).reserved.cost, NanoUsd{256 * 11});
    grants.pop_back();
    EXPECT_TRUE(reserve(*grant, shape(1, 1)));
}

}  // namespace
}  // namespace llmproxy::accounts::test
