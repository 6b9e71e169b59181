#include "usage_reads.hpp"

#include "llmproxy/core/number.hpp"
#include "paging.hpp"
#include "sql_text.hpp"
#include "usage_batch.hpp"
#include "values.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace llmproxy::storage {
namespace {

constexpr char kDaysOfSubject[] = "SELECT day, cost, tokens, requests FROM ledger "
                                  "WHERE subject_kind = ? AND subject = ? ORDER BY day";

constexpr char kUsageWhere[] =
    " AND ifnull(?, project) = project AND ifnull(?, token) = token AND ifnull(?, route) = route "
    "AND ifnull(?, backend) = backend AND ifnull(?, requested_model) = requested_model "
    "AND ifnull(?, served_model) = served_model ";
constexpr char kRowsWhere[] = "AND ifnull(?, outcome) = outcome "
                              "AND (ifnull(?, request_id) = request_id OR request = ?) ";
constexpr auto kUsageUp =
    join("SELECT ", kUsageColumns, " FROM usage WHERE (request, attempt) > (?, ?) AND request < ?",
         kUsageWhere, kRowsWhere, "ORDER BY request, attempt LIMIT ?");
constexpr auto kUsageDown =
    join("SELECT ", kUsageColumns, " FROM usage WHERE (request, attempt) < (?, ?) AND request >= ?",
         kUsageWhere, kRowsWhere, "ORDER BY request DESC, attempt DESC LIMIT ?");

/// A place between rows: (request, attempt).
using UsageCursor = std::pair<core::Uuid, std::int64_t>;

std::string usage_cursor(const UsageRow& row)
{
    return core::to_text(row.request) + "." + std::to_string(row.attempt);
}

std::optional<UsageCursor> parse_usage_cursor(std::string_view text)
{
    constexpr std::size_t kIdSize = 36;
    if (text.size() <= kIdSize + 1 || text[kIdSize] != '.') {
        return std::nullopt;
    }
    const auto request = core::parse_uuid(text.substr(0, kIdSize));
    const auto attempt = core::parse_number<std::int64_t>(text.substr(kIdSize + 1));
    if (!request || !attempt) {
        return std::nullopt;
    }
    return UsageCursor{*request, *attempt};
}

void bind_filter(Query& query, const UsageFilter& filter)
{
    bind_all(query, filter.project, filter.token, filter.route, filter.backend,
             filter.requested_model, filter.served_model);
}

/// The first id of a time; of the end of all times one that is above every id.
core::Uuid bound_of(core::SystemTime time)
{
    if (time == core::SystemTime::max()) {
        core::Uuid last;
        last.bytes.fill(0xff);
        return last;
    }
    return core::first_uuid7(time);
}

/// The next id.
core::Uuid next_id(core::Uuid id) noexcept
{
    for (auto byte = id.bytes.rbegin(); byte != id.bytes.rend() && ++*byte == 0; ++byte) {}
    return id;
}

/// Rows from `first` on and before `end`.
core::Result<Page<UsageRow>> list_between(Database& database, const UsageFilter& filter,
                                          const PageRequest& page, const core::Uuid& first,
                                          const core::Uuid& end)
{
    // Before the first attempt, either way.
    UsageCursor at{page.newest_first ? end : first, -1};
    if (!page.cursor.empty()) {
        const auto parsed = parse_usage_cursor(page.cursor);
        if (!parsed) {
            return bad_cursor();
        }
        at = page.newest_first ? std::min(at, *parsed) : std::max(at, *parsed);
    }
    std::optional<core::Uuid> own_id;
    if (filter.request_id) {
        own_id = core::parse_uuid(*filter.request_id);
    }
    const auto& other_end = page.newest_first ? first : end;
    Query query(database, page.newest_first ? kUsageDown.data() : kUsageUp.data());
    bind_all(query, at.first, at.second, other_end);
    bind_filter(query, filter);
    bind_all(query, filter.outcome, filter.request_id, own_id, rows_of(page) + 1);
    return read_page<UsageRow>(query, page, read_row<UsageRow>, usage_cursor);
}

// Sums come from three tables: whole days from usage_daily, whole hours of the other days from
// usage_hourly, and from the rows what is in hours that have to be summed up anew or are only
// partly asked for. Numbered values: the filter is 1 to 6, what to group by 7 to 12.
constexpr char kSumsWhere[] = " AND ifnull(?1, project) = project AND ifnull(?2, token) = token "
                              "AND ifnull(?3, route) = route AND ifnull(?4, backend) = backend "
                              "AND ifnull(?5, requested_model) = requested_model "
                              "AND ifnull(?6, served_model) = served_model ";
constexpr auto kSums =
    join("WITH parts AS ("
         "SELECT start AS time, ",
         kDimensionColumns, ", ", kTotalColumns,
         " FROM usage_daily WHERE start >= ?13 AND start < ?14 "
         "AND start NOT IN (SELECT start FROM usage_dirty WHERE unit = 2)",
         kSumsWhere, "UNION ALL SELECT start AS time, ", kDimensionColumns, ", ", kTotalColumns,
         " FROM usage_hourly AS h WHERE start >= ?15 AND start < ?16 "
         "AND start NOT IN (SELECT start FROM usage_dirty WHERE unit = 1) "
         "AND (start < ?13 OR start >= ?14 OR start - start % 86400000 IN "
         "(SELECT start FROM usage_dirty WHERE unit = 2))",
         kSumsWhere, "UNION ALL SELECT start AS time, ", kDimensionColumns, ", ", kRowTotals,
         " FROM usage_dirty CROSS JOIN usage ON request >= first_request AND request < end_request "
         "WHERE unit = 1 AND start >= ?15 AND start < ?16",
         kSumsWhere, "UNION ALL SELECT ?17 AS time, ", kDimensionColumns, ", ", kRowTotals,
         " FROM usage WHERE request >= ?18 AND request < ?19", kSumsWhere,
         "UNION ALL SELECT ?20 AS time, ", kDimensionColumns, ", ", kRowTotals,
         " FROM usage WHERE request >= ?21 AND request < ?22", kSumsWhere,
         ") SELECT CASE WHEN ?7 THEN project ELSE 0 END, CASE WHEN ?8 THEN token ELSE 0 END, "
         "CASE WHEN ?9 THEN route ELSE '' END, CASE WHEN ?10 THEN backend ELSE '' END, "
         "CASE WHEN ?11 THEN requested_model ELSE '' END, "
         "CASE WHEN ?12 THEN served_model ELSE '' END, "
         "CASE WHEN ?23 > 0 THEN time - time % ?23 ELSE 0 END, ",
         kTotalSums,
         " FROM parts GROUP BY 7, 1, 2, 3, 4, 5, 6 ORDER BY 7, 1, 2, 3, 4, 5, 6 "
         "LIMIT ?24 OFFSET ?25");

/// Milliseconds, the end exclusive.
struct Span {
    std::int64_t from = 0;
    std::int64_t to = 0;
};

constexpr std::int64_t down(std::int64_t time, std::int64_t unit) noexcept
{
    return time - time % unit;
}

constexpr std::int64_t up(std::int64_t time, std::int64_t unit) noexcept
{
    return down(time + unit - 1, unit);
}

/// Which part of the time comes from which table.
struct Plan {
    Span days;
    Span hours;  // days that come from the hourly sums included
    Span head;   // rows of an hour that is partly asked for
    Span tail;
};

/// What was deleted by now.
struct Kept {
    std::int64_t rows_from = 0;
    std::int64_t hours_from = 0;
};

core::Result<Kept> read_kept(Database& database)
{
    const auto rows = meta_value(database, kRowsFrom, 0);
    if (!rows) {
        return rows.error();
    }
    const auto hours = meta_value(database, kHoursFrom, 0);
    if (!hours) {
        return hours.error();
    }
    return Kept{std::max<std::int64_t>(*rows, 0), std::max<std::int64_t>(*hours, 0)};
}

Plan plan_of(Span asked, const Kept& kept, bool by_hour)
{
    constexpr std::int64_t kLatest = 9'000'000'000'000;  // in the year 2255
    asked.from = std::clamp<std::int64_t>(asked.from, 0, kLatest);
    asked.to = std::clamp<std::int64_t>(asked.to, 0, kLatest);
    const auto unit_at = [&kept](std::int64_t time) {
        return time < kept.hours_from ? kDayMs : time < kept.rows_from ? kHourMs : 1;
    };
    asked.from = down(asked.from, unit_at(asked.from));
    asked.to = up(asked.to, unit_at(asked.to - 1));
    Plan plan;
    plan.hours = {up(asked.from, kHourMs), down(asked.to, kHourMs)};
    if (plan.hours.from > plan.hours.to) {  // within one hour
        plan.hours = {};
        plan.head = asked;
        return plan;
    }
    plan.head = {asked.from, plan.hours.from};
    plan.tail = {plan.hours.to, asked.to};
    plan.days = {up(asked.from, kDayMs), down(asked.to, kDayMs)};
    if (by_hour) {
        plan.days.to = std::min(plan.days.to, kept.hours_from);
    }
    if (plan.days.from >= plan.days.to) {
        plan.days = {};
    }
    return plan;
}

bool has(const UsageQuery& query, UsageDimension dimension)
{
    return std::find(query.group_by.begin(), query.group_by.end(), dimension) !=
           query.group_by.end();
}

core::Result<std::int64_t> offset_of(const PageRequest& page)
{
    if (page.cursor.empty()) {
        return 0;
    }
    const auto offset = core::parse_number<std::int64_t>(page.cursor);
    if (!offset || *offset < 0) {
        return bad_cursor();
    }
    return *offset;
}

void read_group(Query& query, UsageGroup& group)
{
    read_all(query, group.project, group.token, group.route, group.backend, group.requested_model,
             group.served_model, group.time);
    read_row(query, group.totals);
}

}  // namespace

core::Result<std::vector<LedgerRow>> read_ledger(Database& database, Subject subject,
                                                 core::SystemTime at)
{
    std::vector<LedgerRow> rows;
    for (const auto kind : kPeriodKinds) {
        rows.push_back({{subject, period_of(kind, at)}, {}});
    }
    Query query(database, kDaysOfSubject);
    bind_all(query, subject.kind, subject.id);
    while (query.next()) {
        std::int64_t day = 0;
        LedgerEntry entry;
        read_all(query, day, entry.cost, entry.tokens, entry.requests);
        for (auto& row : rows) {
            const auto time = from_milliseconds(day * kDayMs);
            if (period_of(row.key.period.kind, time) == row.key.period) {
                row.spent += entry;
            }
        }
    }
    std::erase_if(rows, [](const LedgerRow& row) { return row.spent == LedgerEntry{}; });
    return query.unless_failed(std::move(rows));
}

core::Result<Page<LedgerRow>> list_ledger(Database& database, Subject subject, PeriodKind kind,
                                          const PageRequest& page)
{
    const auto after = number_cursor(page);
    if (!after) {
        return after.error();
    }
    std::vector<LedgerRow> all;
    Query query(database, kDaysOfSubject);
    bind_all(query, subject.kind, subject.id);
    while (query.next()) {
        std::int64_t day = 0;
        LedgerEntry entry;
        read_all(query, day, entry.cost, entry.tokens, entry.requests);
        const auto period = period_of(kind, from_milliseconds(day * kDayMs));
        if (all.empty() || all.back().key.period != period) {
            all.push_back({{subject, period}, {}});
        }
        all.back().spent += entry;
    }
    if (query.failed()) {
        return query.failure();
    }
    if (page.newest_first) {
        std::reverse(all.begin(), all.end());
    }
    Page<LedgerRow> result;
    for (const auto& row : all) {
        const auto start = to_milliseconds(row.key.period.start);
        if (page.newest_first ? start >= *after : start <= *after) {
            continue;
        }
        if (result.rows.size() == rows_of(page)) {
            result.next = std::to_string(to_milliseconds(result.rows.back().key.period.start));
            break;
        }
        result.rows.push_back(row);
    }
    return result;
}

core::Result<Page<UsageRow>> list_usage(Database& database, const UsageFilter& filter,
                                        const PageRequest& page)
{
    if (filter.request_id) {
        // Our own ids are the key of the table; only a client's has to be searched for.
        if (const auto own = core::parse_uuid(*filter.request_id)) {
            auto found = list_between(database, filter, page, *own, next_id(*own));
            if (!found || !found->rows.empty()) {
                return found;
            }
        }
    }
    return list_between(database, filter, page, bound_of(filter.from), bound_of(filter.to));
}

core::Result<Page<UsageGroup>> sum_usage(Database& database, const UsageQuery& wanted,
                                         const PageRequest& page)
{
    const auto offset = offset_of(page);
    if (!offset) {
        return offset.error();
    }
    Transaction moment(database, "BEGIN");
    if (!moment.begun()) {
        return moment.begun().error();
    }
    const auto kept = read_kept(database);
    if (!kept) {
        return kept.error();
    }
    const bool by_hour = has(wanted, UsageDimension::hour);
    const auto plan = plan_of(
        {to_milliseconds(wanted.filter.from), to_milliseconds(wanted.filter.to)}, *kept, by_hour);
    const std::array rows{core::first_uuid7(from_milliseconds(plan.head.from)),
                          core::first_uuid7(from_milliseconds(plan.head.to)),
                          core::first_uuid7(from_milliseconds(plan.tail.from)),
                          core::first_uuid7(from_milliseconds(plan.tail.to))};
    const auto unit = by_hour ? kHourMs : has(wanted, UsageDimension::day) ? kDayMs : 0;
    Query query(database, kSums.data());
    bind_filter(query, wanted.filter);
    for (const auto dimension :
         {UsageDimension::project, UsageDimension::token, UsageDimension::route,
          UsageDimension::backend, UsageDimension::requested_model, UsageDimension::served_model}) {
        bind_all(query, has(wanted, dimension));
    }
    bind_all(query, plan.days.from, plan.days.to, plan.hours.from, plan.hours.to,
             down(plan.head.from, kHourMs), rows[0], rows[1], plan.tail.from, rows[2], rows[3],
             unit, std::int64_t{rows_of(page)} + 1, *offset);
    return read_page<UsageGroup>(query, page, read_group, [&](const UsageGroup&) {
        return std::to_string(*offset + rows_of(page));
    });
}

}  // namespace llmproxy::storage
