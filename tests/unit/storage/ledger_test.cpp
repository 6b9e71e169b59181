#include "llmproxy/storage/ledger.hpp"

#include <gtest/gtest.h>

namespace llmproxy::storage {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

core::SystemTime at(year_month_day date, nanoseconds time = 0ns)
{
    return sys_days(date) + time;
}

TEST(Period, DayWeekMonthAndTotalHoldTheirTime)
{
    struct Case {
        core::SystemTime time;
        year_month_day week;
        year_month_day month;
    };
    const Case cases[] = {
        {at(2024y / 2 / 29, 23h + 59min + 59s + 999'999'999ns), 2024y / 2 / 26, 2024y / 2 / 1},
        {at(2024y / 3 / 1), 2024y / 2 / 26, 2024y / 3 / 1},
        {at(2021y / 1 / 3, 5h), 2020y / 12 / 28, 2021y / 1 / 1},  // Sunday of ISO week 53
        {at(2021y / 1 / 4), 2021y / 1 / 4, 2021y / 1 / 1},        // Monday of ISO week 1
        {at(2023y / 12 / 31, 1ns), 2023y / 12 / 25, 2023y / 12 / 1},
        {at(1970y / 1 / 1), 1969y / 12 / 29, 1970y / 1 / 1},
    };
    for (const auto& [time, week, month] : cases) {
        EXPECT_EQ(period_of(PeriodKind::day, time).start, floor<days>(time));
        EXPECT_EQ(period_of(PeriodKind::week, time).start, at(week));
        EXPECT_EQ(period_of(PeriodKind::month, time).start, at(month));
        EXPECT_EQ(period_of(PeriodKind::total, time).start, core::SystemTime{});
    }
}

TEST(Period, EndsWhereTheNextBegins)
{
    for (auto time = at(2023y / 12 / 20); time < at(2025y / 1 / 10); time += 7h + 13min) {
        for (const auto kind : {PeriodKind::day, PeriodKind::week, PeriodKind::month}) {
            const auto period = period_of(kind, time);
            const auto end = end_of(period);
            EXPECT_LE(period.start, time);
            EXPECT_LT(time, end);
            EXPECT_EQ(period_of(kind, end).start, end);
            EXPECT_EQ(period_of(kind, end - 1ns), period);
        }
    }
    EXPECT_EQ(end_of(period_of(PeriodKind::total, at(2024y / 1 / 1))), core::SystemTime::max());
}

}  // namespace
}  // namespace llmproxy::storage
