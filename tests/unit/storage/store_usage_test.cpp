#include "store_fixture.hpp"

#include <gmock/gmock.h>

#include <atomic>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using testing::ElementsAre;
using testing::IsEmpty;

class StoreUsage : public test::StoreFixture {
protected:
    StoreUsage()
    {
        open();
        project_ = add_project("alpha").id;
        token_ = add_token(project_, "ci").id;
    }

    core::ProjectId project_{};
    core::TokenId token_{};
};

TEST_F(StoreUsage, KeepsEveryColumnOfARow)
{
    auto row = usage_row(project_, token_);
    row.attempt = 3;
    row.request_id = "client-made-this";
    row.key = 2;
    row.host = "api.openai.com:443";
    row.tokens = {100, 20, 30, 40, 25, 6, 7};
    row.estimated = true;
    row.priced = false;
    row.finish_reason = "length";
    row.stream = true;
    row.first_byte = 123us;
    row.bytes_in = 1'000'000'007;
    row.bytes_out = 9;
    ASSERT_TRUE(settle({}, row));
    EXPECT_THAT(all_usage(), ElementsAre(row));

    auto unseen = usage_row(core::ProjectId::none, core::TokenId::none);
    clock_->advance(5ms);
    unseen.request = core::make_uuid7(clock_->wall());
    unseen.first_byte = core::Duration(-1);
    ASSERT_TRUE(settle({}, unseen));
    EXPECT_THAT(all_usage(), ElementsAre(row, unseen));
}

TEST_F(StoreUsage, TellsHowLongEachTransactionTook)
{
    std::atomic<std::uint64_t> told{0};
    std::atomic<std::int64_t> nanoseconds{0};
    options_.on_commit = [&](core::Duration took) {
        nanoseconds += took.count();
        told += 1;
    };
    open();
    const auto before = store().stats();
    add_project("p");
    const auto after = store().stats();
    EXPECT_EQ(told, after.commits);
    EXPECT_GT(after.commits, before.commits);
    EXPECT_EQ(static_cast<std::uint64_t>(nanoseconds), after.commit_nanoseconds);
    close();  // before what it refers to
}

TEST_F(StoreUsage, SettlesAReservationOnceIntoRowAndLedgers)
{
    const auto row = usage_row(project_, token_, 1234);
    auto held = reserve(row);
    EXPECT_EQ(store().stats().reservations, 1U);
    ASSERT_TRUE(settle(std::move(held), row));
    EXPECT_EQ(store().stats().reservations, 0U);
    ASSERT_TRUE(settle({}, row)) << "told again after a failure that was none";

    EXPECT_THAT(all_usage(), ElementsAre(row));
    const LedgerEntry once{{1234}, 15, 1};
    for (const auto kind : kPeriodKinds) {
        EXPECT_EQ(spent(project_, kind), once);
        EXPECT_EQ(spent(token_, kind), once);
    }
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(StoreUsage, CountsARequestWithSeveralAttemptsOnce)
{
    const auto first = usage_row(project_, token_, 100);
    auto second = first;
    second.attempt = 2;
    second.cost = {300};
    std::vector<UsageRow> rows{first, second};
    ASSERT_TRUE(wait(store().settle(Settlement(reserve(first), std::move(rows)))));
    EXPECT_EQ(spent(project_, PeriodKind::day), (LedgerEntry{{400}, 30, 1}));
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(StoreUsage, SettlesInThePeriodOfTheReservation)
{
    const auto row = usage_row(project_, token_, 700);
    auto held = reserve(row);
    const auto before = clock_->wall();
    clock_->advance(40 * 24h);
    ASSERT_TRUE(settle(std::move(held), row));
    EXPECT_EQ(spent(project_, PeriodKind::month), LedgerEntry{});
    EXPECT_EQ(spent(project_, PeriodKind::total).cost.count, 700);
    const auto then = must(store().ledger(project_, before));
    EXPECT_EQ(then.size(), 4U);
    const auto months = must(store().ledger_history(project_, PeriodKind::month, {})).rows;
    ASSERT_EQ(months.size(), 1U);
    EXPECT_EQ(months[0].key.period, period_of(PeriodKind::month, before));
}

TEST_F(StoreUsage, CancelledReservationLeavesNothing)
{
    auto held = reserve(usage_row(project_, token_));
    held.cancel();
    EXPECT_FALSE(held);
    auto unused = reserve(usage_row(project_, token_));
    ASSERT_TRUE(wait(store().settle(Settlement(std::move(unused), {}))));
    EXPECT_EQ(store().stats().reservations, 0U);
    open();
    EXPECT_THAT(all_usage(), IsEmpty());
}

TEST_F(StoreUsage, DroppedReservationBecomesAnIndeterminateRow)
{
    const auto row = usage_row(project_, token_);
    {
        auto held = reserve(row, 7777, 321);
        held.note_backend("anthropic");
    }
    open();  // waits for what was queued
    const auto rows = all_usage();
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].request, row.request);
    EXPECT_EQ(rows[0].outcome, kIndeterminate);
    EXPECT_EQ(rows[0].cost.count, 7777);
    EXPECT_EQ(rows[0].tokens.total(), 321);
    EXPECT_EQ(rows[0].backend, "anthropic");
    EXPECT_EQ(rows[0].requested_model, "gpt-4o");
    EXPECT_TRUE(rows[0].estimated);
    EXPECT_EQ(spent(token_, PeriodKind::total), (LedgerEntry{{7777}, 321, 1}));
}

TEST_F(StoreUsage, ReservationHeldBeyondTheStoreIsFoundAtTheNextStart)
{
    const auto row = usage_row(project_, token_);
    {
        auto held = reserve(row, 4242, 10);
        close();
    }
    open();
    ASSERT_EQ(all_usage().size(), 1U);
    EXPECT_EQ(all_usage()[0].cost.count, 4242);
    EXPECT_EQ(store().stats().indeterminate, 1U);
    open();
    EXPECT_EQ(store().stats().indeterminate, 0U);
    EXPECT_EQ(all_usage().size(), 1U);
}

TEST_F(StoreUsage, RefusesMoreReservationsThanItHasSlots)
{
    std::vector<Reservation> held;
    for (std::uint32_t i = 0; i < options_.reservations; ++i) {
        held.push_back(reserve(usage_row(project_, token_)));
    }
    const auto row = usage_row(project_, token_);
    const auto refused = wait(store().reserve(record_of(row, 1, 1)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::overloaded);
    held.front().cancel();
    EXPECT_TRUE(wait(store().reserve(record_of(row, 1, 1))));
    for (auto& one : held) {
        one.cancel();
    }
}

TEST_F(StoreUsage, WorksWithDurabilityPowerToo)
{
    options_.settings.durability = Durability::power;
    open();
    std::vector<std::future<core::Result<void>>> waits;
    std::vector<UsageRow> rows;
    for (int i = 0; i < 50; ++i) {
        rows.push_back(usage_row(project_, token_, i));
        waits.push_back(
            loop_.start(store().settle(Settlement(reserve(rows.back()), {rows.back()}))));
    }
    for (auto& one : waits) {
        EXPECT_TRUE(one.get());
    }
    EXPECT_EQ(all_usage().size(), rows.size());
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

}  // namespace
}  // namespace llmproxy::storage
