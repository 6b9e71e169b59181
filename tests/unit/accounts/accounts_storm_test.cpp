#include "spending_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using core::NanoUsd;

/// Lets 200 requests begin at once, on four threads; tells how many pass. Those that pass last until all have been tried.
class AccountsStormTest : public SpendingFixture {
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
