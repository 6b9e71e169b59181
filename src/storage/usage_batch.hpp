#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/ledger.hpp"
#include "llmproxy/storage/usage.hpp"
#include "sqlite.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace llmproxy::storage {

inline constexpr std::int64_t kHourMs = 3'600'000;
inline constexpr std::int64_t kDayMs = 24 * kHourMs;

/// What the sums of usage are made for.
enum class SumUnit : std::uint8_t { hour = 1, day = 2 };

/// The usage of one transaction: writes the rows at once, gathers what they add to the ledger, and
/// marks the hours and days whose sums have to be made again.
///
/// Thread safety: one thread, the writer's. Invariant: a row is in the table, in the ledger and in
/// a marked hour (or in the sums, if the hour's rows are gone), or in none of them.
class UsageBatch {
public:
    /// Reads up to when rows and hourly sums were deleted. First of all, and after the file was
    /// reopened.
    core::Result<void> load(Database& database);

    /// Adds a request's rows. Those that are there already are left alone.
    core::Result<void> add(Database& database, std::span<const UsageRow> rows);

    /// Writes what was gathered; before the commit.
    core::Result<void> flush(Database& database);

    /// The transaction was committed, or was not.
    void committed();
    void rolled_back();

    /// Writes the marks gathered so far.
    core::Result<void> write_marks(Database& database);

    /// The sums of this hour or day are made from now on: until `end_sums` every transaction with a
    /// row of it marks it again. One at a time.
    void begin_sums(SumUnit unit, std::int64_t start);
    void end_sums() noexcept { summing_.reset(); }

    /// Rows before `time` are about to be deleted: those that still come are added to the sums.
    void set_rows_from(std::int64_t time) noexcept { rows_from_ = time; }
    void set_hours_from(std::int64_t time) noexcept { hours_from_ = time; }
    [[nodiscard]] std::int64_t rows_from() const noexcept { return rows_from_; }
    [[nodiscard]] std::int64_t hours_from() const noexcept { return hours_from_; }

private:
    struct LedgerAddition {
        Subject subject;
        std::int64_t day = 0;
        LedgerEntry entry;
    };
    using Mark = std::pair<SumUnit, std::int64_t>;

    core::Result<bool> insert(Database& database, const UsageRow& row);
    core::Result<void> note_time(Database& database, const UsageRow& row);
    core::Result<void> add_to_sums(Database& database, const char* sql, std::int64_t start,
                                   const UsageRow& row);
    core::Result<void> write_ledger(Database& database);
    void mark(SumUnit unit, std::int64_t start);

    std::vector<LedgerAddition> ledger_;
    std::set<Mark> marked_;      // in the table
    std::vector<Mark> pending_;  // of this transaction
    std::optional<Mark> summing_;
    std::int64_t rows_from_ = std::numeric_limits<std::int64_t>::min();
    std::int64_t hours_from_ = std::numeric_limits<std::int64_t>::min();
};

/// Marks an hour or a day: its sums are older than its rows.
[[nodiscard]] core::Result<void> mark_dirty(Database& database, SumUnit unit, std::int64_t start);

/// \name Figures of the table `meta`
/// @{
inline constexpr std::string_view kRowsFrom = "usage_rows_from";
inline constexpr std::string_view kHoursFrom = "usage_hours_from";
[[nodiscard]] core::Result<std::int64_t> meta_value(Database& database, std::string_view key,
                                                    std::int64_t otherwise);
[[nodiscard]] core::Result<void> set_meta_value(Database& database, std::string_view key,
                                                std::int64_t value);
/// @}

}  // namespace llmproxy::storage
