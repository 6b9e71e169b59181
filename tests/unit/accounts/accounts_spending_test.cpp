#include "spending_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using core::Errc;
using core::NanoUsd;

class AccountsSpendingTest : public SpendingFixture {};

TEST_F(AccountsSpendingTest, ShowHowMuchOfEachLimitIsSpentAndWhatARequestUsed)
{
    set_budget(project, monthly(1000));
    storage::BudgetRow row;
    row.tokens = 200;
    set_budget(token.row.id, row);
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant.used(), Amount{});
    ASSERT_TRUE(settle(grant, {attempt(20, 8)}));
    EXPECT_EQ(grant.used(), (Amount{{100}, 28}));
    std::vector<std::string> seen;
    accounts_->show_budgets([&seen](const Accounts::BudgetUse& use) {
        EXPECT_EQ(use.project, "p");
        EXPECT_EQ(use.period, storage::PeriodKind::month);
        const bool of_project = use.subject == storage::SubjectKind::project;
        EXPECT_DOUBLE_EQ(use.share, of_project ? 0.1 : 0.14);
        seen.emplace_back(of_project ? "project" : "token");
    });
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, (std::vector<std::string>{"project", "token"}));
}

TEST_F(AccountsSpendingTest, ReserveInBothBudgetsAndSettleWhatWasUsed)
{
    set_budget(token.row.id, monthly(1000));
    set_budget(project, monthly(5000));
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    EXPECT_EQ(month_of(token.row.id).reserved, (Amount{NanoUsd{600}, 150}));
    EXPECT_EQ(month_of(project).reserved, (Amount{NanoUsd{600}, 150}));
    EXPECT_FALSE(request());
    EXPECT_EQ(fields_, "x-should-retry: false\r\n");

    grant.begin_attempt({"m", "openai", "openai"});
    ASSERT_TRUE(settle(grant, {attempt(20, 8)}));
    for (const storage::Subject subject :
         {storage::Subject(token.row.id), storage::Subject(project)}) {
        EXPECT_EQ(month_of(subject).spent, (Amount{NanoUsd{100}, 28}));
        EXPECT_EQ(month_of(subject).reserved, Amount{});
        EXPECT_EQ(spent(subject, storage::PeriodKind::month).cost, NanoUsd{100});
        EXPECT_EQ(spent(subject, storage::PeriodKind::month).tokens, 28);
    }
    EXPECT_TRUE(request());
}

TEST_F(AccountsSpendingTest, SayWhoseBudgetIsSpent)
{
    set_budget(project, monthly(599));
    begin();
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    const auto refused = reserve(*grant, shape(100, 50));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::insufficient_quota);
    EXPECT_NE(refused.error().message().find("the monthly budget of this project"),
              std::string_view::npos);
    EXPECT_EQ(month_of(token.row.id).reserved, Amount{});
    EXPECT_EQ(store().stats().reservations, 0U);
    EXPECT_TRUE(reserve(*grant, shape(99, 50)));
}

TEST_F(AccountsSpendingTest, WriteARowForEachAttempt)
{
    begin();
    Admission wanted;
    wanted.route = "chat_completions";
    wanted.request = core::make_uuid7(clock_->wall());
    wanted.request_id = "from-the-client";
    auto grant = accounts_->admit(account_of(token), wanted, fields_);
    ASSERT_TRUE(grant && reserve(*grant, shape(100, 50)));
    auto failed = attempt(0, 0);
    failed.row.status = 503;
    failed.row.outcome = "upstream_error";
    grant->begin_attempt({"m", "openai", "openai"});
    grant->begin_attempt({"m", "openai", "openai"});
    ASSERT_TRUE(settle(*grant, {failed, attempt(20, 8)}));
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 2U);
    for (std::uint32_t i = 0; i < 2; ++i) {
        EXPECT_EQ(rows[i].request, wanted.request);
        EXPECT_EQ(rows[i].request_id, "from-the-client");
        EXPECT_EQ(rows[i].attempt, i + 1);
        EXPECT_EQ(rows[i].project, project);
        EXPECT_EQ(rows[i].token, token.row.id);
        EXPECT_EQ(rows[i].route, "chat_completions");
        EXPECT_TRUE(rows[i].priced);
        EXPECT_FALSE(rows[i].estimated);
    }
    EXPECT_EQ(rows[0].cost, NanoUsd{0});
    EXPECT_EQ(rows[1].cost, NanoUsd{100});
    EXPECT_EQ(store().stats().reservations, 0U);
}

TEST_F(AccountsSpendingTest, RecordTokensOfTheConfigurationUnderAnIdOfTheirOwn)
{
    static_accounts_ = {{"ci", core::sha256("secret"), nullptr}};
    begin();
    auto grant = admit(**accounts_->recall("secret"));
    ASSERT_TRUE(grant && reserve(*grant, shape(100, 50)));
    ASSERT_TRUE(settle(*grant, {attempt(20, 8)}));
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].project, core::ProjectId::none);
    EXPECT_EQ(rows[0].token, static_token_id("ci"));
    EXPECT_EQ(rows[0].cost, NanoUsd{100});
    close();
    EXPECT_EQ(problems(), std::vector<std::string>{});
    open();
}

TEST_F(AccountsSpendingTest, LeaveNoTraceOfWhatWasNeverSent)
{
    set_budget(token.row.id, monthly(600));
    begin();
    {
        const auto grant = request();
        ASSERT_TRUE(grant);
        EXPECT_EQ(store().stats().reservations, 1U);
    }
    EXPECT_EQ(store().stats().reservations, 0U);
    auto again = request();
    ASSERT_TRUE(again);
    again.cancel();
    again.cancel();
    auto settled = request();
    ASSERT_TRUE(settled);
    EXPECT_TRUE(settle(settled, {}));
    EXPECT_TRUE(request());
    EXPECT_TRUE(all_usage().empty());
    EXPECT_EQ(month_of(token.row.id).spent, Amount{});
}

TEST_F(AccountsSpendingTest, CountWhatWasReservedForARequestWhoseEndNobodySaw)
{
    set_budget(token.row.id, monthly(1000));
    begin();
    {
        auto grant = request();
        ASSERT_TRUE(grant);
        grant.begin_attempt({"m", "openai", "openai"});
    }
    EXPECT_EQ(month_of(token.row.id).spent, (Amount{NanoUsd{600}, 150}));
    EXPECT_EQ(month_of(token.row.id).reserved, Amount{});
    EXPECT_FALSE(request());
    close();  // writes what is queued
    open();
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].outcome, storage::kIndeterminate);
    EXPECT_EQ(rows[0].cost, NanoUsd{600});
    EXPECT_EQ(rows[0].backend, "openai");
    EXPECT_EQ(spent(token.row.id, storage::PeriodKind::month).cost, NanoUsd{600});
}

TEST_F(AccountsSpendingTest, GoOnFromWhatTheStoreHasAfterARestart)
{
    set_budget(token.row.id, monthly(1000));
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    grant.begin_attempt({"m", "openai", "openai"});
    ASSERT_TRUE(settle(grant, {attempt(1, 50)}));
    grant = Grant();
    begin();
    EXPECT_FALSE(request());
    EXPECT_TRUE(request(shape(99, 40)));
    EXPECT_EQ(month_of(token.row.id).spent, (Amount{NanoUsd{501}, 51}));
}

TEST_F(AccountsSpendingTest, SayWhichLimitMustBeInjected)
{
    set_budget(token.row.id, monthly(1'000'000));
    begin();
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    const auto found = reserve(*grant, shape(100, {}));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->inject_max_tokens, 50U);
}

TEST_F(AccountsSpendingTest, RefuseWhatHasNoBoundUnlessOneIsConfigured)
{
    set_budget(project, monthly(10'000));
    begin();
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    EXPECT_EQ(reserve(*grant, shape(100, 50), "unpriced").error().errc(), Errc::model_not_allowed);
    EXPECT_EQ(month_of(project).reserved, Amount{});

    settings_.budget.unbounded_cost = NanoUsd{4000};
    accounts_->replace(settings_, {});
    grant = admit(account_of(token));
    ASSERT_TRUE(grant && reserve(*grant, shape(100, 50), "unpriced"));
    EXPECT_EQ(month_of(project).reserved.cost, NanoUsd{4000});
    auto unpriced = attempt(20, 8);
    unpriced.model = "unpriced";
    ASSERT_TRUE(settle(*grant, {unpriced}));
    EXPECT_EQ(month_of(project).spent.cost, NanoUsd{4000});
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_TRUE(rows[0].estimated && rows[0].priced);
}

TEST_F(AccountsSpendingTest, ReserveAgainForAnAttemptThatFollowsOneThatMayHaveCost)
{
    set_budget(token.row.id, monthly(1300));
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    grant.begin_attempt({"m", "openai", "openai"});
    EXPECT_TRUE(accounts_->reserve_again(grant));
    EXPECT_EQ(month_of(token.row.id).reserved, (Amount{NanoUsd{1200}, 300}));
    const auto refused = accounts_->reserve_again(grant);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::insufficient_quota);
    auto lost = attempt(100, 0);
    lost.row.status = 0;
    lost.row.outcome = "upstream_reset";
    lost.row.estimated = true;
    ASSERT_TRUE(settle(grant, {lost, attempt(20, 8)}));
    EXPECT_EQ(month_of(token.row.id).spent, (Amount{NanoUsd{200}, 128}));
    EXPECT_EQ(month_of(token.row.id).reserved, Amount{});
}

TEST_F(AccountsSpendingTest, TellWhenAReservationIsExhaustedOnlyWhereItIsStrict)
{
    set_budget(token.row.id, monthly(10'000));
    begin();
    const auto used = [](std::int64_t prompt, std::int64_t completion) {
        storage::TokenCounts counts;
        counts.prompt = prompt;
        counts.completion = completion;
        return counts;
    };
    auto lenient = request();
    ASSERT_TRUE(lenient);
    lenient.begin_attempt({"m", "openai", "openai"});
    EXPECT_FALSE(lenient.exhausted_by(used(100, 5000)));
    settings_.budget.enforce = Enforcement::strict;
    accounts_->replace(settings_, {});
    auto strict = request();
    ASSERT_TRUE(strict);
    strict.begin_attempt({"m", "openai", "openai"});
    EXPECT_FALSE(strict.exhausted_by(used(100, 50)));
    EXPECT_FALSE(strict.exhausted_by(used(20, 58)));
    EXPECT_TRUE(strict.exhausted_by(used(100, 51)));
    EXPECT_TRUE(strict.exhausted_by(used(20, 59)));

    storage::BudgetRow tokens;
    tokens.tokens = 1000;
    set_budget(token.row.id, tokens);
    accounts_->token_changed(token.row.id);
    auto counted = request();
    ASSERT_TRUE(counted);
    counted.begin_attempt({"m", "openai", "openai"});
    EXPECT_FALSE(counted.exhausted_by(used(0, 150)));
    EXPECT_TRUE(counted.exhausted_by(used(0, 151)));
}

TEST_F(AccountsSpendingTest, TellOfSoftLimits)
{
    auto row = monthly(1000);
    set_budget(project, row);
    begin();
    auto grant = request();
    ASSERT_TRUE(grant);
    ASSERT_TRUE(settle(grant, {attempt(0, 79)}));
    EXPECT_TRUE(reached_.empty());
    grant = Grant();
    grant = request(shape(10, 5));
    ASSERT_TRUE(grant);
    ASSERT_TRUE(settle(grant, {attempt(10, 1)}));
    ASSERT_EQ(reached_.size(), 1U);
    EXPECT_EQ(reached_[0].subject, storage::Subject(project));
    EXPECT_EQ(reached_[0].percent, 80);
    EXPECT_EQ(reached_[0].spent, 810);
}

TEST_F(AccountsSpendingTest, FollowAnotherSoftLimitOfTheConfiguration)
{
    set_budget(project, monthly(1000));
    begin();
    (void)account_of(token);
    settings_.budget.soft_threshold = 10;
    accounts_->replace(settings_, {});
    auto grant = request();
    ASSERT_TRUE(grant);
    ASSERT_TRUE(settle(grant, {attempt(0, 10)}));
    ASSERT_EQ(reached_.size(), 1U);
    EXPECT_EQ(reached_[0].percent, 10);
}

}  // namespace
}  // namespace llmproxy::accounts::test
