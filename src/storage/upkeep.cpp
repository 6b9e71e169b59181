#include "upkeep.hpp"

#include "sql_text.hpp"
#include "values.hpp"

#include <algorithm>
#include <future>
#include <utility>

namespace llmproxy::storage {
namespace {

constexpr std::size_t kSumsInOnePart = 500;
constexpr std::int64_t kGraceMs = 60'000;  // most requests have ended that long after their hour

constexpr char kHoursDue[] =
    "SELECT start FROM usage_dirty WHERE unit = 1 AND start < ? ORDER BY start";
constexpr char kDaysDue[] =
    "SELECT start FROM usage_dirty WHERE unit = 2 AND start < ? ORDER BY start";
constexpr char kMark[] = "SELECT generation, first_request, end_request FROM usage_dirty AS mark "
                         "WHERE unit = ? AND start = ? AND (unit = 1 OR NOT EXISTS "
                         "(SELECT 1 FROM usage_dirty WHERE unit = 1 AND start >= mark.start "
                         "AND start < mark.start + 86400000))";
constexpr auto kSumRows = join(
    "SELECT ", kDimensionColumns, ", ", kTotalSums, " FROM (SELECT ", kDimensionColumns, ", ",
    kRowTotals, " FROM usage WHERE request >= ? AND request < ?) GROUP BY ", kDimensionColumns);
constexpr auto kSumHours =
    join("SELECT ", kDimensionColumns, ", ", kTotalSums,
         " FROM usage_hourly WHERE start >= ? AND start < ? GROUP BY ", kDimensionColumns);
constexpr auto kInsertHour =
    join("INSERT INTO usage_hourly(start, ", kDimensionColumns, ", ", kTotalColumns,
         ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
constexpr auto kInsertDay =
    join("INSERT INTO usage_daily(start, ", kDimensionColumns, ", ", kTotalColumns,
         ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
constexpr char kClearMark[] =
    "DELETE FROM usage_dirty WHERE unit = ? AND start = ? AND generation = ?";
constexpr char kAnyDirty[] = "SELECT 1 FROM usage_dirty WHERE unit = ? AND start < ? LIMIT 1";

constexpr char kDeleteRows[] =
    "DELETE FROM usage WHERE request < ifnull((SELECT request FROM usage "
    "WHERE request < ?1 ORDER BY request LIMIT 1 OFFSET 500), ?1)";
constexpr char kDeleteHours[] = "DELETE FROM usage_hourly WHERE start = "
                                "(SELECT min(start) FROM usage_hourly WHERE start < ?)";
constexpr char kDeleteExpired[] =
    "DELETE FROM resources WHERE (project, kind, id) IN "
    "(SELECT project, kind, id FROM resources WHERE expires <= ? LIMIT 200)";

/// A change of the upkeep's: somebody blocks for it.
class Part final : public WriteJob {
public:
    explicit Part(std::function<core::Result<void>(WriteContext&)> change)
        : WriteJob(Kind::change), change_(std::move(change))
    {
    }
    core::Result<void> apply(WriteContext& context) override { return change_(context); }
    void conclude(const core::Result<void>& outcome) override { outcome_.set_value(outcome); }
    [[nodiscard]] std::future<core::Result<void>> outcome() { return outcome_.get_future(); }

private:
    std::function<core::Result<void>(WriteContext&)> change_;
    std::promise<core::Result<void>> outcome_;
};

core::Result<std::vector<std::int64_t>> starts(Database& reader, const char* sql,
                                               std::int64_t before)
{
    Query query(reader, sql);
    query.put(before);
    std::vector<std::int64_t> found;
    while (query.next()) {
        found.push_back(query.integer());
    }
    return query.unless_failed(std::move(found));
}

std::int64_t length_of(SumUnit unit) noexcept
{
    return unit == SumUnit::hour ? kHourMs : kDayMs;
}

void read_sum(Query& query, UsageGroup& group)
{
    read_all(query, group.project, group.token, group.route, group.backend, group.requested_model,
             group.served_model);
    read_row(query, group.totals);
}

void bind_sum(Query& query, std::int64_t start, const UsageGroup& group)
{
    bind_all(query, start, group.project, group.token, group.route, group.backend,
             group.requested_model, group.served_model);
    bind_row(query, group.totals);
}

std::int64_t milliseconds(core::Duration duration) noexcept
{
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

/// Moves the time from which on rows (hours) are kept, if all before it is summed up.
/// \param key, unit  of what is deleted
core::Result<bool> move_border(WriteContext& context, std::string_view key, SumUnit unit,
                               std::int64_t border)
{
    // Also what this transaction has marked so far.
    if (auto written = context.usage.write_marks(context.database); !written) {
        return written.error();
    }
    Query query(context.database, kAnyDirty);
    bind_all(query, unit, border);
    if (query.next()) {
        return false;
    }
    if (query.failed()) {
        return query.failure();
    }
    if (auto set = set_meta_value(context.database, key, border); !set) {
        return set.error();
    }
    return true;
}

}  // namespace

core::Result<void> Upkeep::run(Database& reader)
{
    const auto now = to_milliseconds(options_.clock->wall());
    auto done = make_sums(reader, SumUnit::hour, now);
    if (done) {
        done = make_sums(reader, SumUnit::day, now);
    }
    if (done) {
        done = delete_rows(reader, now);
    }
    if (done) {
        done = delete_hours(reader, now);
    }
    if (done) {
        done = delete_in_parts(reader, kDeleteExpired, now);
    }
    return done;
}

core::Result<void> Upkeep::write(Change change)
{
    const auto part = std::make_shared<Part>(std::move(change));
    auto outcome = part->outcome();
    writer_.push(part);
    return outcome.get();
}

core::Result<void> Upkeep::make_sums(Database& reader, SumUnit unit, std::int64_t now)
{
    const auto due = starts(reader, unit == SumUnit::hour ? kHoursDue : kDaysDue,
                            now - length_of(unit) - kGraceMs);
    if (!due) {
        return due.error();
    }
    for (const auto start : *due) {
        if (auto made = make_sums_of(reader, unit, start); !made) {
            return made;
        }
    }
    return {};
}

core::Result<void> Upkeep::make_sums_of(Database& reader, SumUnit unit, std::int64_t start)
{
    const auto begin = [unit, start](WriteContext& context) -> core::Result<void> {
        context.usage.begin_sums(unit, start);
        return {};
    };
    if (auto begun = write(begin); !begun) {
        return begun;
    }
    Sums sums;
    {
        // One moment for the mark and for what it stands for.
        Transaction moment(reader, "BEGIN");
        if (!moment.begun()) {
            return moment.begun();
        }
        core::Uuid first;
        core::Uuid end;
        Query mark(reader, kMark);
        bind_all(mark, unit, start);
        if (!mark.next()) {
            return mark.run();
        }
        read_all(mark, sums.generation, first, end);
        Query query(reader, unit == SumUnit::hour ? kSumRows.data() : kSumHours.data());
        if (unit == SumUnit::hour) {
            bind_all(query, first, end);
        } else {
            bind_all(query, start, start + kDayMs);
        }
        while (query.next()) {
            read_sum(query, sums.groups.emplace_back());
        }
        if (query.failed()) {
            return query.failure();
        }
    }
    return write_sums(unit, start, sums);
}

core::Result<void> Upkeep::write_sums(SumUnit unit, std::int64_t start, const Sums& sums)
{
    const bool hour = unit == SumUnit::hour;
    const auto remove = [=](WriteContext& context) {
        Query query(context.database, hour ? "DELETE FROM usage_hourly WHERE start = ?"
                                           : "DELETE FROM usage_daily WHERE start = ?");
        query.put(start);
        return query.run();
    };
    auto done = write(remove);
    // Half-written sums are not read: the mark stays until all are there.
    for (std::size_t at = 0; done && at < sums.groups.size(); at += kSumsInOnePart) {
        const auto end = std::min(at + kSumsInOnePart, sums.groups.size());
        const auto add = [&](WriteContext& context) -> core::Result<void> {
            for (auto i = at; i < end; ++i) {
                Query query(context.database, hour ? kInsertHour.data() : kInsertDay.data());
                bind_sum(query, start, sums.groups[i]);
                if (auto inserted = query.run(); !inserted) {
                    return inserted;
                }
            }
            return {};
        };
        done = write(add);
    }
    if (!done) {
        return done;
    }
    const auto finish = [&](WriteContext& context) {
        context.usage.end_sums();
        Query query(context.database, kClearMark);
        bind_all(query, unit, start, sums.generation);
        return query.run();
    };
    return write(finish);
}

core::Result<void> Upkeep::delete_rows(Database& reader, std::int64_t now)
{
    if (options_.retention <= core::Duration::zero()) {
        return {};
    }
    const auto oldest = now - milliseconds(options_.retention);
    const auto border = oldest - oldest % kHourMs;
    const auto before = meta_value(reader, kRowsFrom, 0);
    if (!before) {
        return before.error();
    }
    if (border > *before) {
        const auto move = [border](WriteContext& context) -> core::Result<void> {
            const auto moved = move_border(context, kRowsFrom, SumUnit::hour, border);
            if (!moved) {
                return moved.error();
            }
            if (*moved) {
                context.usage.set_rows_from(border);
            }
            return {};
        };
        if (auto moved = write(move); !moved) {
            return moved;
        }
    }
    const auto kept = meta_value(reader, kRowsFrom, 0);
    if (!kept) {
        return kept.error();
    }
    return delete_in_parts(reader, kDeleteRows, *kept);
}

core::Result<void> Upkeep::delete_hours(Database& reader, std::int64_t now)
{
    if (options_.rollup_retention <= core::Duration::zero()) {
        return {};
    }
    const auto rows_from = meta_value(reader, kRowsFrom, 0);
    if (!rows_from) {
        return rows_from.error();
    }
    const auto before = meta_value(reader, kHoursFrom, 0);
    if (!before) {
        return before.error();
    }
    // Never longer ago than the rows are kept: their hours may have to be summed up again.
    const auto oldest = std::min(now - milliseconds(options_.rollup_retention), *rows_from);
    const auto border = oldest - oldest % kDayMs;
    if (border > *before) {
        const auto move = [border](WriteContext& context) -> core::Result<void> {
            const auto moved = move_border(context, kHoursFrom, SumUnit::day, border);
            if (!moved) {
                return moved.error();
            }
            if (*moved) {
                context.usage.set_hours_from(border);
            }
            return {};
        };
        if (auto moved = write(move); !moved) {
            return moved;
        }
    }
    const auto kept = meta_value(reader, kHoursFrom, 0);
    if (!kept) {
        return kept.error();
    }
    return delete_in_parts(reader, kDeleteHours, *kept);
}

core::Result<void> Upkeep::delete_in_parts(Database& reader, const char* statement,
                                           std::int64_t value)
{
    std::int64_t deleted = 1;
    while (deleted > 0 && !reader.stopped()) {
        const auto part = [&](WriteContext& context) -> core::Result<void> {
            Query query(context.database, statement);
            if (statement == kDeleteRows) {
                const auto border = core::first_uuid7(from_milliseconds(value));
                bind_all(query, border);
                auto done = query.run();
                deleted = context.database.changes();
                return done;
            }
            query.put(value);
            auto done = query.run();
            deleted = context.database.changes();
            return done;
        };
        if (auto done = write(part); !done) {
            return done;
        }
    }
    return {};
}

}  // namespace llmproxy::storage
