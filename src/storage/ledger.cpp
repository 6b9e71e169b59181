#include "llmproxy/storage/ledger.hpp"

#include <chrono>

namespace llmproxy::storage {
namespace {

using std::chrono::days;
using std::chrono::sys_days;

sys_days month_of(sys_days day) noexcept
{
    const std::chrono::year_month_day date(day);
    return sys_days(date.year() / date.month() / 1);
}

}  // namespace

Period period_of(PeriodKind kind, core::SystemTime time) noexcept
{
    const auto day = std::chrono::floor<days>(time);
    switch (kind) {
    case PeriodKind::day: return {kind, day};
    case PeriodKind::week: return {kind, day - (std::chrono::weekday(day) - std::chrono::Monday)};
    case PeriodKind::month: return {kind, month_of(day)};
    case PeriodKind::total: break;
    }
    return {PeriodKind::total, core::SystemTime{}};
}

core::SystemTime end_of(Period period) noexcept
{
    const auto day = std::chrono::floor<days>(period.start);
    switch (period.kind) {
    case PeriodKind::day: return day + days(1);
    case PeriodKind::week: return day + days(7);
    case PeriodKind::month: return month_of(month_of(day) + days(31));
    case PeriodKind::total: break;
    }
    return core::SystemTime::max();
}

}  // namespace llmproxy::storage
