#include "llmproxy/accounts/budget.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

namespace llmproxy::accounts {
namespace {

using namespace std::chrono_literals;
using core::NanoUsd;
using storage::BudgetRow;
using storage::PeriodKind;

constexpr core::ProjectId kProject{7};
constexpr core::TokenId kToken{9};

core::SystemTime at(int year, unsigned month, unsigned day, std::chrono::seconds of_day = 12h)
{
    return std::chrono::sys_days(std::chrono::year(year) / static_cast<int>(month) /
                                 static_cast<int>(day)) +
           of_day;
}

BudgetRow money(PeriodKind period, std::int64_t limit)
{
    BudgetRow row;
    row.period = period;
    row.cost = NanoUsd{limit};
    return row;
}

BudgetRow tokens(PeriodKind period, std::int64_t limit)
{
    BudgetRow row;
    row.period = period;
    row.tokens = limit;
    return row;
}

Amount amount(std::int64_t cost, std::int64_t count = 0)
{
    return {NanoUsd{cost}, count};
}

/// A token's budget with the given limits.
struct Subject {
    explicit Subject(std::vector<BudgetRow> rows, std::uint32_t soft = 0)
    {
        budget.configure(rows, soft);
    }
    [[nodiscard]] bool takes(Amount most, core::SystemTime time)
    {
        return budget.reserve(most, time).has_value();
    }
    void settle(const Budget::Hold& hold, Amount used) { budget.settle(hold, used, reached); }

    Budget budget{kToken};
    std::vector<SoftLimitReached> reached;
};

TEST(Budget, TellsWhatItWouldReserveAndTakesNothing)
{
    Subject subject({money(PeriodKind::day, 100)});
    const auto now = at(2026, 3, 4);
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(subject.budget.would_reserve(amount(100), now));
    }
    EXPECT_FALSE(subject.budget.would_reserve(amount(101), now));
    EXPECT_TRUE(subject.takes(amount(60), now));
    EXPECT_FALSE(subject.budget.would_reserve(amount(41), now));
    EXPECT_TRUE(subject.budget.would_reserve(amount(40), now));
}

TEST(Budget, ReservesUpToTheLimitAndNotAHairMore)
{
    Subject subject({money(PeriodKind::month, 100)});
    const auto now = at(2026, 8, 5);
    EXPECT_TRUE(subject.takes(amount(60), now));
    EXPECT_FALSE(subject.takes(amount(41), now));
    EXPECT_TRUE(subject.takes(amount(40), now));
    EXPECT_TRUE(subject.takes(amount(0), now));
    const auto refused = subject.budget.reserve(amount(1), now);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), core::Errc::insufficient_quota);
    EXPECT_EQ(refused.error().message(),
              "You exceeded your current quota: the monthly budget of this token has not "
              "enough left for this request.");
}

TEST(Budget, SaysWhichBudgetIsSpent)
{
    Budget budget{kProject};
    budget.configure(std::array{money(PeriodKind::total, 1), tokens(PeriodKind::week, 5)}, 0);
    EXPECT_EQ(budget.reserve(amount(0, 6), at(2026, 1, 1)).error().detail(),
              "weekly budget of the project");
    EXPECT_EQ(budget.reserve(amount(2), at(2026, 1, 1)).error().detail(),
              "total budget of the project");
    EXPECT_NE(budget.reserve(amount(0, 6), at(2026, 1, 1)).error().message().find("token budget"),
              std::string_view::npos);
}

TEST(Budget, GivesBackWhatWasNotUsed)
{
    Subject subject({money(PeriodKind::day, 100), tokens(PeriodKind::day, 1000)});
    const auto now = at(2026, 8, 5);
    const auto hold = subject.budget.reserve(amount(100, 900), now);
    ASSERT_TRUE(hold);
    EXPECT_FALSE(subject.takes(amount(1), now));
    subject.settle(*hold, amount(30, 100));
    EXPECT_FALSE(subject.takes(amount(71), now));
    EXPECT_FALSE(subject.takes(amount(0, 901), now));
    const auto rest = subject.budget.reserve(amount(70, 900), now);
    ASSERT_TRUE(rest);
    subject.budget.release(*rest);
    EXPECT_TRUE(subject.takes(amount(70, 900), now));
}

TEST(Budget, CountsWhatCostMoreThanItsReservation)
{
    Subject subject({money(PeriodKind::day, 100)});
    const auto now = at(2026, 8, 5);
    const auto hold = subject.budget.reserve(amount(10), now);
    ASSERT_TRUE(hold);
    subject.settle(*hold, amount(150));
    EXPECT_FALSE(subject.takes(amount(0), now));
    EXPECT_TRUE(subject.takes(amount(100), at(2026, 8, 6)));
}

TEST(Budget, BeginsAnewWithEachPeriodInUtc)
{
    struct Case {
        PeriodKind period;
        core::SystemTime last;
        core::SystemTime first;
    };
    const std::array kCases{
        Case{PeriodKind::day, at(2026, 8, 5, 86399s), at(2026, 8, 6, 0s)},
        Case{PeriodKind::week, at(2026, 8, 9, 86399s), at(2026, 8, 10, 0s)},   // Sunday, Monday
        Case{PeriodKind::week, at(2027, 1, 3, 86399s), at(2027, 1, 4, 0s)},    // across New Year
        Case{PeriodKind::month, at(2028, 2, 29, 86399s), at(2028, 3, 1, 0s)},  // a leap year
        Case{PeriodKind::month, at(2026, 12, 31, 86399s), at(2027, 1, 1, 0s)},
    };
    for (const auto& [period, last, first] : kCases) {
        Subject subject({money(period, 10)});
        EXPECT_TRUE(subject.takes(amount(10), last));
        EXPECT_FALSE(subject.takes(amount(1), last));
        EXPECT_TRUE(subject.takes(amount(10), first));
        EXPECT_FALSE(subject.takes(amount(1), first));
    }
    Subject total({money(PeriodKind::total, 10)});
    EXPECT_TRUE(total.takes(amount(10), at(2026, 1, 1)));
    EXPECT_FALSE(total.takes(amount(1), at(2036, 1, 1)));
}

TEST(Budget, SettlesInThePeriodOfTheReservation)
{
    Subject subject({money(PeriodKind::day, 100)});
    const auto before = at(2026, 8, 5, 86399s);
    const auto after = at(2026, 8, 6, 1s);
    const auto hold = subject.budget.reserve(amount(80), before);
    ASSERT_TRUE(hold);
    EXPECT_TRUE(subject.takes(amount(90), after));
    subject.settle(*hold, amount(70));
    EXPECT_FALSE(subject.takes(amount(11), after));
    EXPECT_TRUE(subject.takes(amount(10), after));
    EXPECT_FALSE(subject.takes(amount(31), before));  // a request from before midnight that is late
    EXPECT_TRUE(subject.takes(amount(30), before));
}

TEST(Budget, ForgetsPeriodsLongOverWithoutHarm)
{
    Subject subject({money(PeriodKind::day, 100)});
    const auto old = subject.budget.reserve(amount(80), at(2026, 8, 5));
    ASSERT_TRUE(old);
    EXPECT_TRUE(subject.takes(amount(100), at(2026, 8, 6)));
    EXPECT_TRUE(subject.takes(amount(100), at(2026, 8, 7)));
    subject.settle(*old, amount(80));
    subject.budget.release(*old);
    EXPECT_FALSE(subject.takes(amount(1), at(2026, 8, 7)));
}

TEST(Budget, GivesNothingTwiceWhenTheClockIsSetBack)
{
    Subject subject({money(PeriodKind::day, 100)});
    EXPECT_TRUE(subject.takes(amount(60), at(2026, 8, 7)));
    const auto back = subject.budget.reserve(amount(40), at(2026, 8, 1));
    ASSERT_TRUE(back);
    EXPECT_FALSE(subject.takes(amount(1), at(2026, 8, 2)));
    EXPECT_FALSE(subject.takes(amount(1), at(2026, 8, 7)));
    subject.budget.release(*back);
    EXPECT_TRUE(subject.takes(amount(40), at(2026, 8, 7)));
}

TEST(Budget, GoesOnFromWhatTheStoreKnows)
{
    const auto now = at(2026, 8, 5);
    const auto row = [&](PeriodKind kind, std::int64_t cost, std::int64_t count) {
        storage::LedgerRow found;
        found.key = {kToken, storage::period_of(kind, now)};
        found.spent = {NanoUsd{cost}, count, 1};
        return found;
    };
    Subject subject({money(PeriodKind::day, 100), tokens(PeriodKind::month, 1000)});
    subject.budget.load(std::array{row(PeriodKind::day, 60, 1), row(PeriodKind::month, 90, 990)},
                        now);
    EXPECT_FALSE(subject.takes(amount(41), now));
    EXPECT_FALSE(subject.takes(amount(0, 11), now));
    EXPECT_TRUE(subject.takes(amount(40, 10), now));
    EXPECT_FALSE(subject.takes(amount(0, 1), at(2026, 8, 6)));
    EXPECT_TRUE(subject.takes(amount(100), at(2026, 8, 6)));
}

TEST(Budget, KnowsNothingOfThePeriodBeforeItWasLoaded)
{
    Subject subject({money(PeriodKind::day, 100)});
    subject.budget.load({}, at(2026, 8, 6, 1s));
    EXPECT_TRUE(subject.takes(amount(100), at(2026, 8, 5, 86399s)));
    EXPECT_FALSE(subject.takes(amount(1), at(2026, 8, 6, 2s)));
}

TEST(Budget, TakesOtherLimitsAtOnceAndKeepsWhatIsSpent)
{
    Subject subject({});
    const auto now = at(2026, 8, 5);
    EXPECT_FALSE(subject.budget.bounds_money() || subject.budget.bounds_tokens());
    EXPECT_TRUE(subject.takes(amount(std::numeric_limits<std::int64_t>::max() / 2, 5), now));
    subject.budget.configure(std::array{money(PeriodKind::week, 50)}, 0);
    EXPECT_TRUE(subject.budget.bounds_money());
    EXPECT_FALSE(subject.budget.bounds_tokens());
    EXPECT_FALSE(subject.takes(amount(0), now));
    subject.budget.configure(std::array{tokens(PeriodKind::week, 10)}, 0);
    EXPECT_TRUE(subject.takes(amount(0, 5), now));
    EXPECT_FALSE(subject.takes(amount(0, 1), now));
}

TEST(Budget, TellsEachSoftLimitOnceWhenItIsReached)
{
    auto own = money(PeriodKind::day, 1000);
    own.soft_percents = {50, 90, 100};
    Subject subject({own, tokens(PeriodKind::month, 100)}, 80);
    const auto now = at(2026, 8, 5);
    const auto spend = [&](Amount used) {
        const auto hold = subject.budget.reserve(used, now);
        ASSERT_TRUE(hold);
        subject.reached.clear();
        subject.settle(*hold, used);
    };
    spend(amount(499, 79));
    EXPECT_TRUE(subject.reached.empty());
    spend(amount(1, 0));
    ASSERT_EQ(subject.reached.size(), 1U);
    EXPECT_EQ(subject.reached[0].percent, 50);
    EXPECT_TRUE(subject.reached[0].money);
    EXPECT_EQ(subject.reached[0].spent, 500);
    EXPECT_EQ(subject.reached[0].limit, 1000);
    EXPECT_EQ(subject.reached[0].subject, storage::Subject(kToken));
    EXPECT_EQ(subject.reached[0].period, storage::period_of(PeriodKind::day, now));
    spend(amount(399, 0));
    EXPECT_TRUE(subject.reached.empty());
    spend(amount(101, 21));
    ASSERT_EQ(subject.reached.size(), 3U);  // 90 and 100 of the money, 80 of the tokens
    EXPECT_EQ(subject.reached[0].percent, 90);
    EXPECT_EQ(subject.reached[1].percent, 100);
    EXPECT_EQ(subject.reached[2].percent, 80);
    EXPECT_FALSE(subject.reached[2].money);
    spend(amount(0, 0));
    EXPECT_TRUE(subject.reached.empty());
}

TEST(Budget, ShowsWhereItStands)
{
    Subject subject({money(PeriodKind::day, 100), tokens(PeriodKind::total, 50)});
    const auto now = at(2026, 8, 5);
    const auto hold = subject.budget.reserve(amount(10, 3), now);
    ASSERT_TRUE(hold);
    subject.settle(*hold, amount(5, 2));
    ASSERT_TRUE(subject.takes(amount(7, 1), now));
    const auto states = subject.budget.states(now);
    ASSERT_EQ(states.size(), 4U);
    EXPECT_EQ(states[0].period, storage::period_of(PeriodKind::day, now));
    EXPECT_EQ(states[0].cost_limit, NanoUsd{100});
    EXPECT_FALSE(states[0].token_limit);
    EXPECT_EQ(states[0].spent, amount(5, 2));
    EXPECT_EQ(states[0].reserved, amount(7, 1));
    EXPECT_EQ(states[3].token_limit, 50);
    EXPECT_EQ(states[3].spent, amount(5, 2));
    EXPECT_EQ(subject.budget.states(at(2026, 8, 6))[0].spent, amount(0));
}

TEST(Budget, RefusesWhatIsTooLargeToBeTold)
{
    Subject subject({money(PeriodKind::day, std::numeric_limits<std::int64_t>::max() - 1)});
    const auto now = at(2026, 8, 5);
    EXPECT_FALSE(subject.takes({NanoUsd::max(), 0}, now));
    EXPECT_TRUE(subject.takes(amount(-5, -5), now));
    EXPECT_EQ(subject.budget.states(now)[0].reserved, amount(0));
}

TEST(Budget, LetsExactlyTenOfTwoHundredParallelRequestsPass)
{
    for (int round = 0; round < 20; ++round) {
        Subject subject({money(PeriodKind::month, 10 * 777)});
        std::atomic<int> passed{0};
        std::array<std::thread, 8> threads;
        for (auto& thread : threads) {
            thread = std::thread([&] {
                for (int i = 0; i < 25; ++i) {
                    passed += subject.takes(amount(777), at(2026, 8, 5)) ? 1 : 0;
                }
            });
        }
        for (auto& thread : threads) {
            thread.join();
        }
        EXPECT_EQ(passed, 10);
    }
}

TEST(Budget, NeverSpendsMoreThanItsLimitWhileSettlingInParallel)
{
    Subject subject({money(PeriodKind::day, 1000)});
    const auto now = at(2026, 8, 5);
    std::atomic<std::int64_t> spent{0};
    std::array<std::thread, 4> threads;
    for (auto& thread : threads) {
        thread = std::thread([&] {
            std::vector<SoftLimitReached> reached;
            for (int i = 0; i < 500; ++i) {
                if (const auto hold = subject.budget.reserve(amount(10), now)) {
                    if (i % 3 == 0) {
                        subject.budget.release(*hold);
                    } else {
                        subject.budget.settle(*hold, amount(i % 11), reached);
                        spent += i % 11;
                    }
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_LE(spent, 1000);
    const auto state = subject.budget.states(now)[0];
    EXPECT_EQ(state.spent, amount(spent));
    EXPECT_EQ(state.reserved, amount(0));
    EXPECT_GT(state.spent.cost.count, 990);
}

}  // namespace
}  // namespace llmproxy::accounts
