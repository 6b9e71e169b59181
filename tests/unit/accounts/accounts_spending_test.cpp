#include "accounts_fixture.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using core::NanoUsd;

/// A project `p` with a token `t`, and what its requests may use. Body 100 and output 50 cost 600 at most.
class AccountsSpendingTest : public AccountsFixture {
protected:
    AccountsSpendingTest() : project(add_project("p").id), token(make_token(project, "t")) {}

    /// A request that is admitted and has reserved, or an empty grant.
    Grant request(const RequestShape& wanted = shape(100, 50))
    {
        auto grant = admit(account_of(token));
        if (!grant || !reserve(*grant, wanted)) {
            return {};
        }
        return std::move(*grant);
    }

    const core::ProjectId project;
    Token token;
};

TEST_F(AccountsSpendingTest, RefuseRequestsPastTheTokensLimitWithTheLinesThatClientsRead)
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

TEST_F(AccountsSpendingTest, ShareAProjectsLimitAmongItsTokens)
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

TEST_F(AccountsSpendingTest, CapRequestsAndTunnelsAtOnce)
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

TEST_F(AccountsSpendingTest, CountBytesOnceHoweverTheyAreTold)
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

TEST_F(AccountsSpendingTest, TakeTokensPerMinuteBeforehandAndCorrectThemAfterwards)
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

TEST_F(AccountsSpendingTest, SayThatARequestIsTooLargeForEver)
{
    storage::LimitRow row;
    row.tokens_per_minute = 0;
    set_limits(token.row.id, {row});
    begin();
    EXPECT_FALSE(request());
    EXPECT_EQ(fields_.find("Retry-After"), std::string::npos);
    EXPECT_EQ(fields_.find("x-should-retry: false\r\n"), 0U);
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

TEST_F(AccountsSpendingTest, SendNothingThatTheStoreCannotRecord)
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

TEST_F(AccountsSpendingTest, CountWhatTheStoreCouldNotWrite)
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

TEST_F(AccountsSpendingTest, LetNothingPassWhenAllReservationsAreTaken)
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

/// Lets 200 requests begin at once, on four threads; tells how many pass. Those that pass last until all have been tried.
class AccountsStormTest : public AccountsSpendingTest {
protected:
    int storm()
    {
        begin();
        (void)account_of(token);
        std::atomic<int> passed{0};
        std::mutex mutex;
        std::vector<Grant> kept;
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 50; ++i) {
                    std::string fields;
                    const auto account = **accounts_->recall(token.text);
                    auto grant = accounts_->admit(account, Admission{"chat_completions"}, fields);
                    if (grant &&
                        loop_.run(reserve_task(*accounts_, *grant, shape(100, 50), "m", fields))) {
                        ++passed;
                        const std::lock_guard lock(mutex);
                        kept.push_back(std::move(*grant));
                    }
                }
            });
        }
        for (auto& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(store().stats().reservations, kept.size());
        return passed;
    }
};

TEST_F(AccountsStormTest, LetsExactlyTenPassOfATokensBudget)
{
    set_budget(token.row.id, monthly(10 * 600 + 599));
    EXPECT_EQ(storm(), 10);
}

TEST_F(AccountsStormTest, LetsExactlyTenPassOfAProjectsBudget)
{
    set_budget(project, monthly(10 * 600));
    set_budget(token.row.id, monthly(12 * 600));
    EXPECT_EQ(storm(), 10);
}

TEST_F(AccountsStormTest, LetsExactlyTenPassOfATokenBudget)
{
    storage::BudgetRow row;
    row.period = storage::PeriodKind::day;
    row.tokens = 10 * 150;
    set_budget(project, row);
    EXPECT_EQ(storm(), 10);
}

TEST_F(AccountsStormTest, LetsExactlyTenPassOfEachRateLimit)
{
    for (const auto limit :
         {&storage::LimitRow::requests_per_minute, &storage::LimitRow::concurrent_requests,
          &storage::LimitRow::tokens_per_minute}) {
        for (const storage::Subject subject :
             {storage::Subject(token.row.id), storage::Subject(project)}) {
            storage::LimitRow row;
            row.*limit = limit == &storage::LimitRow::tokens_per_minute ? 10 * 150 : 10;
            set_limits(token.row.id, {});
            set_limits(project, {});
            set_limits(subject, {row});
            EXPECT_EQ(storm(), 10);
        }
    }
}

TEST_F(AccountsStormTest, KeepsMemoryAndLedgerAlikeWhateverRequestsDo)
{
    set_budget(token.row.id, monthly(50'000));
    begin();
    (void)account_of(token);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 60; ++i) {
                std::string fields;
                const auto account = **accounts_->recall(token.text);
                auto grant = accounts_->admit(account, Admission{"chat_completions"}, fields);
                if (!grant ||
                    !loop_.run(reserve_task(*accounts_, *grant, shape(100, 50), "m", fields))) {
                    continue;
                }
                if (i % 5 == 0) {
                    continue;  // never sent
                }
                grant->begin_attempt({"m", "openai", "openai"});
                if (i % 5 != 1) {  // else nobody sees its end
                    EXPECT_TRUE(loop_.run(accounts_->settle(*grant, {attempt(t, i % 50)})));
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    const auto memory = month_of(token.row.id);
    EXPECT_EQ(memory.reserved, Amount{});
    EXPECT_LE(memory.spent.cost, NanoUsd{50'000});
    EXPECT_EQ(month_of(project).spent, memory.spent);
    accounts_.reset();
    close();  // writes what is queued
    open();
    const auto ledger = spent(token.row.id, storage::PeriodKind::month);
    EXPECT_EQ(ledger.cost, memory.spent.cost);
    EXPECT_EQ(ledger.tokens, memory.spent.tokens);
    std::int64_t sum = 0;
    for (const auto& row : all_usage()) {
        sum += row.cost.count;
    }
    EXPECT_EQ(sum, memory.spent.cost.count);
    EXPECT_EQ(problems(), std::vector<std::string>{});
}

}  // namespace
}  // namespace llmproxy::accounts::test
