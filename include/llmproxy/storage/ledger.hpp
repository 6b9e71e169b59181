#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/money.hpp"

#include <array>
#include <compare>
#include <cstdint>

namespace llmproxy::storage {

/// Who has limits, a budget and a ledger. The values are stored.
enum class SubjectKind : std::uint8_t { project = 1, token = 2 };

/// One project or one token.
struct Subject {
    SubjectKind kind = SubjectKind::project;
    std::int64_t id = 0;

    constexpr Subject() noexcept = default;
    constexpr Subject(core::ProjectId project) noexcept  // NOLINT(google-explicit-constructor)
        : kind(SubjectKind::project), id(static_cast<std::int64_t>(project))
    {
    }
    constexpr Subject(core::TokenId token) noexcept  // NOLINT(google-explicit-constructor)
        : kind(SubjectKind::token), id(static_cast<std::int64_t>(token))
    {
    }
    friend constexpr auto operator<=>(Subject, Subject) noexcept = default;
};

/// Calendar periods in UTC; a week begins on Monday (ISO 8601). The values are stored.
enum class PeriodKind : std::uint8_t { day = 1, week = 2, month = 3, total = 4 };

inline constexpr std::array kPeriodKinds{PeriodKind::day, PeriodKind::week, PeriodKind::month,
                                         PeriodKind::total};

/// One day, week or month; `total` begins at the epoch and never ends.
struct Period {
    PeriodKind kind = PeriodKind::total;
    core::SystemTime start;

    friend constexpr auto operator<=>(Period, Period) noexcept = default;
};

/// The period of that kind which holds `time`.
[[nodiscard]] Period period_of(PeriodKind kind, core::SystemTime time) noexcept;

/// When it is over: the start of the next; the end of the clock for `total`.
[[nodiscard]] core::SystemTime end_of(Period period) noexcept;

/// Names one sum of a ledger.
struct LedgerKey {
    Subject subject;
    Period period;

    friend constexpr auto operator<=>(const LedgerKey&, const LedgerKey&) noexcept = default;
};

/// What was spent: exactly the sum of the usage rows whose time lies in the period.
struct LedgerEntry {
    core::NanoUsd cost;
    std::int64_t tokens = 0;    ///< TokenCounts::total
    std::int64_t requests = 0;  ///< a request with several attempts counts once

    friend constexpr bool operator==(LedgerEntry, LedgerEntry) noexcept = default;
    constexpr LedgerEntry& operator+=(LedgerEntry other) noexcept
    {
        cost += other.cost;
        tokens += other.tokens;
        requests += other.requests;
        return *this;
    }
};

/// One row of the ledger.
struct LedgerRow {
    LedgerKey key;
    LedgerEntry spent;
};

}  // namespace llmproxy::storage
