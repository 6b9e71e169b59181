#include "llmproxy/accounts/budget.hpp"

#include "llmproxy/core/wide.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

namespace llmproxy::accounts {
namespace {

using storage::kPeriodKinds;
using storage::PeriodKind;

std::int64_t add(std::int64_t a, std::int64_t b) noexcept
{
    std::int64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) {
        return a < 0 ? std::numeric_limits<std::int64_t>::min()
                     : std::numeric_limits<std::int64_t>::max();
    }
    return sum;
}

Amount operator+(Amount a, Amount b) noexcept
{
    return {a.cost + b.cost, add(a.tokens, b.tokens)};
}

/// What is reserved never falls below nothing, whatever was clamped on the way up.
void take_off(Amount& reserved, Amount amount) noexcept
{
    reserved.cost = std::max(reserved.cost - amount.cost, core::NanoUsd{});
    reserved.tokens = std::max<std::int64_t>(reserved.tokens - amount.tokens, 0);
}

std::size_t index_of(PeriodKind kind) noexcept
{
    const auto* const found = std::find(kPeriodKinds.begin(), kPeriodKinds.end(), kind);
    return static_cast<std::size_t>(found - kPeriodKinds.begin());
}

std::string_view name_of(PeriodKind kind) noexcept
{
    switch (kind) {
    case PeriodKind::day: return "daily";
    case PeriodKind::week: return "weekly";
    case PeriodKind::month: return "monthly";
    case PeriodKind::total: break;
    }
    return "total";
}

bool reaches(std::int64_t before, std::int64_t after, std::int64_t limit,
             std::uint8_t percent) noexcept
{
    const auto mark = static_cast<std::int64_t>(
        core::scale(static_cast<std::uint64_t>(std::max<std::int64_t>(limit, 0)), percent, 100));
    return before < mark && after >= mark;
}

Amount at_least_nothing(Amount amount) noexcept
{
    return {std::max(amount.cost, core::NanoUsd{}), std::max<std::int64_t>(amount.tokens, 0)};
}

}  // namespace

void Budget::configure(std::span<const storage::BudgetRow> rows, std::uint32_t soft_percent)
{
    std::vector<Limit> limits;
    bool money = false;
    bool tokens = false;
    for (const auto& row : rows) {
        Limit limit{row, row.soft_percents};
        if (limit.soft_percents.empty() && soft_percent > 0) {
            limit.soft_percents.push_back(static_cast<std::uint8_t>(soft_percent));
        }
        limits.push_back(std::move(limit));
        money = money || row.cost.has_value();
        tokens = tokens || row.tokens.has_value();
    }
    const std::lock_guard lock(mutex_);
    limits_ = std::move(limits);
    bounds_money_ = money;
    bounds_tokens_ = tokens;
}

void Budget::load(std::span<const storage::LedgerRow> rows, core::SystemTime time)
{
    const std::lock_guard lock(mutex_);
    for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
        // Also without a row: of the period before nothing is known, so that nothing may count there.
        enter(kind, time);
    }
    for (const auto& row : rows) {
        if (auto* const window = find(index_of(row.key.period.kind), row.key.period.start)) {
            window->spent = {row.spent.cost, row.spent.tokens};
        }
    }
}

Budget::Window& Budget::enter(std::size_t kind, core::SystemTime time) noexcept
{
    auto& [latest, before] = kinds_[kind];
    const auto start = storage::period_of(kPeriodKinds[kind], time).start;
    if (start == before.start) {
        return before;
    }
    if (start > latest.start) {
        before = latest;
        latest = Window{start, {}, {}};
    }
    // A clock that was set back far counts in the latest period, so that nothing is had twice.
    return latest;
}

Budget::Window* Budget::find(std::size_t kind, core::SystemTime start) noexcept
{
    auto& [latest, before] = kinds_[kind];
    return start == latest.start ? &latest : (start == before.start ? &before : nullptr);
}

core::Failure Budget::spent_out(const Limit& limit, bool money) const
{
    const auto whose = subject_.kind == storage::SubjectKind::token ? "token" : "project";
    std::string message = "You exceeded your current quota: the ";
    message.append(name_of(limit.row.period))
        .append(money ? " budget of this " : " token budget of this ")
        .append(whose)
        .append(" has not enough left for this request.");
    core::Failure failure(core::Errc::insufficient_quota, core::Origin::client,
                          std::string(name_of(limit.row.period)) + " budget of the " + whose);
    failure.say(std::move(message));
    return failure;
}

core::Result<Budget::Windows> Budget::windows_with(Amount most, core::SystemTime time)
{
    Windows windows{};
    for (std::size_t kind = 0; kind < windows.size(); ++kind) {
        windows[kind] = &enter(kind, time);
    }
    for (const auto& limit : limits_) {
        const auto& window = *windows[index_of(limit.row.period)];
        const auto after = window.spent + window.reserved + most;
        if (limit.row.cost && after.cost > *limit.row.cost) {
            return spent_out(limit, true);
        }
        if (limit.row.tokens && after.tokens > *limit.row.tokens) {
            return spent_out(limit, false);
        }
    }
    return windows;
}

core::Result<Budget::Hold> Budget::reserve(Amount most, core::SystemTime time)
{
    most = at_least_nothing(most);
    const std::lock_guard lock(mutex_);
    const auto windows = windows_with(most, time);
    if (!windows) {
        return windows.error();
    }
    Hold hold{most, {}};
    for (std::size_t kind = 0; kind < windows->size(); ++kind) {
        auto& window = *(*windows)[kind];
        window.reserved = window.reserved + most;
        hold.starts[kind] = window.start;
    }
    return hold;
}

core::Result<void> Budget::would_reserve(Amount most, core::SystemTime time)
{
    const std::lock_guard lock(mutex_);
    const auto windows = windows_with(at_least_nothing(most), time);
    return windows ? core::Result<void>() : windows.error();
}

void Budget::note_soft(const Limit& limit, Amount before, const Window& window,
                       std::vector<SoftLimitReached>& reached) const
{
    const storage::Period period{limit.row.period, window.start};
    for (const auto percent : limit.soft_percents) {
        if (limit.row.cost &&
            reaches(before.cost.count, window.spent.cost.count, limit.row.cost->count, percent)) {
            reached.push_back(
                {subject_, period, percent, true, window.spent.cost.count, limit.row.cost->count});
        }
        if (limit.row.tokens &&
            reaches(before.tokens, window.spent.tokens, *limit.row.tokens, percent)) {
            reached.push_back(
                {subject_, period, percent, false, window.spent.tokens, *limit.row.tokens});
        }
    }
}

void Budget::settle(const Hold& hold, Amount used, std::vector<SoftLimitReached>& reached)
{
    const std::lock_guard lock(mutex_);
    std::array<Amount, kPeriodKinds.size()> before{};
    for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
        if (auto* const window = find(kind, hold.starts[kind])) {
            take_off(window->reserved, hold.amount);
            before[kind] = window->spent;
            window->spent = window->spent + used;
        }
    }
    for (const auto& limit : limits_) {
        const auto kind = index_of(limit.row.period);
        if (const auto* const window = find(kind, hold.starts[kind])) {
            note_soft(limit, before[kind], *window, reached);
        }
    }
}

void Budget::release(const Hold& hold) noexcept
{
    const std::lock_guard lock(mutex_);
    for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
        if (auto* const window = find(kind, hold.starts[kind])) {
            take_off(window->reserved, hold.amount);
        }
    }
}

std::vector<Budget::State> Budget::states(core::SystemTime time)
{
    const std::lock_guard lock(mutex_);
    std::vector<State> states;
    for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
        const auto& window = enter(kind, time);
        State state;
        state.period = {kPeriodKinds[kind], window.start};
        state.spent = window.spent;
        state.reserved = window.reserved;
        for (const auto& limit : limits_) {
            if (limit.row.period == kPeriodKinds[kind]) {
                state.cost_limit = limit.row.cost;
                state.token_limit = limit.row.tokens;
            }
        }
        states.push_back(state);
    }
    return states;
}

}  // namespace llmproxy::accounts
