#include "usage_batch.hpp"

#include "sql_text.hpp"
#include "values.hpp"

#include <algorithm>
#include <tuple>

namespace llmproxy::storage {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

constexpr auto kInsertUsage =
    join("INSERT INTO usage(", kUsageColumns,
         ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) "
         "ON CONFLICT DO NOTHING");
constexpr char kAddToLedger[] =
    "INSERT INTO ledger(subject_kind, subject, day, cost, tokens, requests) VALUES(?,?,?,?,?,?) "
    "ON CONFLICT DO UPDATE SET cost = cost + excluded.cost, tokens = tokens + excluded.tokens, "
    "requests = requests + excluded.requests";
constexpr char kMarkDirty[] =
    "INSERT INTO usage_dirty(unit, start, generation, first_request, end_request) "
    "VALUES(?,?,1,?,?) ON CONFLICT DO UPDATE SET generation = generation + 1";

constexpr char kAddTotals[] =
    ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET "
    "attempts = attempts + excluded.attempts, failed = failed + excluded.failed, "
    "estimated = estimated + excluded.estimated, prompt = prompt + excluded.prompt, "
    "cached = cached + excluded.cached, cache_write = cache_write + excluded.cache_write, "
    "completion = completion + excluded.completion, reasoning = reasoning + excluded.reasoning, "
    "audio_input = audio_input + excluded.audio_input, "
    "audio_output = audio_output + excluded.audio_output, cost = cost + excluded.cost, "
    "duration = duration + excluded.duration, bytes_in = bytes_in + excluded.bytes_in, "
    "bytes_out = bytes_out + excluded.bytes_out";
constexpr auto kAddToHour =
    join("INSERT INTO usage_hourly(start, ", kDimensionColumns, ", ", kTotalColumns, kAddTotals);
constexpr auto kAddToDay =
    join("INSERT INTO usage_daily(start, ", kDimensionColumns, ", ", kTotalColumns, kAddTotals);

UsageTotals totals_of(const UsageRow& row)
{
    UsageTotals totals;
    totals.attempts = 1;
    totals.failed = row.outcome == "ok" ? 0 : 1;
    totals.estimated = row.estimated ? 1 : 0;
    totals.tokens = row.tokens;
    totals.cost = row.cost;
    totals.duration = std::max(row.duration, core::Duration::zero());
    totals.bytes_in = row.bytes_in;
    totals.bytes_out = row.bytes_out;
    return totals;
}

std::int64_t floor_to(std::int64_t time, std::int64_t unit) noexcept
{
    return time - time % unit;
}

}  // namespace

core::Result<std::int64_t> meta_value(Database& database, std::string_view key,
                                      std::int64_t otherwise)
{
    Query query(database, "SELECT value FROM meta WHERE key = ?");
    bind_all(query, key);
    const auto value = query.next() ? query.integer() : otherwise;
    return query.unless_failed(value);
}

core::Result<void> set_meta_value(Database& database, std::string_view key, std::int64_t value)
{
    Query query(database, "INSERT INTO meta(key, value) VALUES(?,?) "
                          "ON CONFLICT DO UPDATE SET value = excluded.value");
    bind_all(query, key, value);
    return query.run();
}

core::Result<void> mark_dirty(Database& database, SumUnit unit, std::int64_t start)
{
    const auto length = unit == SumUnit::hour ? kHourMs : kDayMs;
    const auto first = core::first_uuid7(from_milliseconds(start));
    const auto end = core::first_uuid7(from_milliseconds(start + length));
    Query query(database, kMarkDirty);
    bind_all(query, unit, start, first, end);
    return query.run();
}

core::Result<void> UsageBatch::load(Database& database)
{
    rolled_back();
    marked_.clear();
    const auto rows = meta_value(database, kRowsFrom, kNever);
    if (!rows) {
        return rows.error();
    }
    const auto hours = meta_value(database, kHoursFrom, kNever);
    if (!hours) {
        return hours.error();
    }
    rows_from_ = *rows;
    hours_from_ = *hours;
    return {};
}

core::Result<void> UsageBatch::add(Database& database, std::span<const UsageRow> rows)
{
    LedgerEntry entry;
    std::size_t added = 0;
    for (const auto& row : rows) {
        const auto inserted = insert(database, row);
        if (!inserted) {
            return inserted.error();
        }
        if (!*inserted) {
            continue;
        }
        if (auto noted = note_time(database, row); !noted) {
            return noted;
        }
        entry += {row.cost, row.tokens.total(), 0};
        ++added;
    }
    if (added == 0) {
        return {};
    }
    entry.requests = added == rows.size() ? 1 : 0;
    const auto& first = rows.front();
    const auto day = to_milliseconds(first.time()) / kDayMs;
    if (first.project != core::ProjectId::none) {
        ledger_.push_back({first.project, day, entry});
    }
    if (first.token != core::TokenId::none) {
        ledger_.push_back({first.token, day, entry});
    }
    return {};
}

core::Result<bool> UsageBatch::insert(Database& database, const UsageRow& row)
{
    Query query(database, kInsertUsage.data());
    bind_row(query, row);
    if (auto done = query.run(); !done) {
        return done.error();
    }
    return database.changes() > 0;
}

core::Result<void> UsageBatch::note_time(Database& database, const UsageRow& row)
{
    const auto time = to_milliseconds(row.time());
    const auto hour = floor_to(time, kHourMs);
    const auto day = floor_to(time, kDayMs);
    if (hour >= rows_from_) {
        mark(SumUnit::hour, hour);
        mark(SumUnit::day, day);
        return {};
    }
    if (hour >= hours_from_) {
        mark(SumUnit::day, day);
        return add_to_sums(database, kAddToHour.data(), hour, row);
    }
    return add_to_sums(database, kAddToDay.data(), day, row);
}

core::Result<void> UsageBatch::add_to_sums(Database& database, const char* sql, std::int64_t start,
                                           const UsageRow& row)
{
    const auto totals = totals_of(row);
    Query query(database, sql);
    bind_all(query, start, row.project, row.token, row.route, row.backend, row.requested_model,
             row.served_model);
    bind_row(query, totals);
    return query.run();
}

void UsageBatch::mark(SumUnit unit, std::int64_t start)
{
    const Mark wanted{unit, start};
    if (!marked_.contains(wanted) &&
        std::find(pending_.begin(), pending_.end(), wanted) == pending_.end()) {
        pending_.push_back(wanted);
    }
}

core::Result<void> UsageBatch::write_marks(Database& database)
{
    for (const auto& [unit, start] : pending_) {
        if (auto marked = mark_dirty(database, unit, start); !marked) {
            return marked;
        }
    }
    return {};
}

core::Result<void> UsageBatch::flush(Database& database)
{
    if (auto marked = write_marks(database); !marked) {
        return marked;
    }
    return write_ledger(database);
}

core::Result<void> UsageBatch::write_ledger(Database& database)
{
    const auto key = [](const LedgerAddition& one) { return std::tuple(one.subject, one.day); };
    std::sort(ledger_.begin(), ledger_.end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
    for (auto at = ledger_.begin(); at != ledger_.end();) {
        auto sum = *at;
        for (++at; at != ledger_.end() && key(*at) == key(sum); ++at) {
            sum.entry += at->entry;
        }
        Query query(database, kAddToLedger);
        bind_all(query, sum.subject.kind, sum.subject.id, sum.day, sum.entry.cost, sum.entry.tokens,
                 sum.entry.requests);
        if (auto done = query.run(); !done) {
            return done;
        }
    }
    return {};
}

void UsageBatch::committed()
{
    marked_.insert(pending_.begin(), pending_.end());
    if (summing_) {
        marked_.erase(*summing_);
    }
    pending_.clear();
    ledger_.clear();
}

void UsageBatch::rolled_back()
{
    pending_.clear();
    ledger_.clear();
}

void UsageBatch::begin_sums(SumUnit unit, std::int64_t start)
{
    summing_ = Mark{unit, start};
    marked_.erase(*summing_);
}

}  // namespace llmproxy::storage
