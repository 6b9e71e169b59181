#include "ids.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/core/time_text.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "llmproxy/telemetry/process.hpp"
#include "paging.hpp"
#include "route.hpp"

#include <algorithm>
#include <map>

namespace llmproxy::handlers::manage {
namespace {

using Counts = std::map<std::string, std::uint64_t>;

Json milliseconds(core::Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

const Shape& times_shape()
{
    static const Shape shape{
        "Times",
        "How long something took since the start; percentiles are at most 1.6 % off.",
        {field("count", Kind::integer, "").must(), field("mean_ms", Kind::number, "").must(),
         field("p50_ms", Kind::number, "").must(), field("p95_ms", Kind::number, "").must(),
         field("p99_ms", Kind::number, "").must(), field("max_ms", Kind::number, "").must()}};
    return shape;
}

const Shape& count_shape()
{
    static const Shape shape{
        "Count",
        "How many of one kind.",
        {field("name", Kind::text, "").must(), field("count", Kind::integer, "").must()}};
    return shape;
}

const Shape& backend_stats_shape()
{
    static const Shape shape{
        "BackendStats",
        "What was counted of a backend since the start.",
        {field("name", Kind::text, "").must(),
         field("in_use", Kind::boolean, "False: the configuration does not have it any more.")
             .must(),
         field("circuit", Kind::text, "Null when it is not in use.")
             .must()
             .or_null()
             .one_of({"closed", "open", "half_open"}),
         field("in_flight", Kind::integer, "Requests under way.").must(),
         field("requests", Kind::integer, "That it answered, or that failed at it last.").must(),
         object("outcomes", count_shape(), "Of these: `ok` and the codes of errors made here.")
             .must()
             .list(1000),
         object("attempts", count_shape(),
                "By how they ended: `ok`, the classes of refusals, the codes of errors.")
             .must()
             .list(1000),
         object("duration", times_shape(), "Of requests; null: there was none.").must().or_null(),
         object("first_byte", times_shape(),
                "From the request being sent to the first byte of the answer.")
             .must()
             .or_null()}};
    return shape;
}

const Shape& project_stats_shape()
{
    static const Shape shape{"ProjectStats",
                             "What a project has spent.",
                             {field("id", Kind::text, "").must(),
                              field("name", Kind::text, "").must(),
                              field("today_usd", Kind::usd, "Since midnight UTC.").must(),
                              field("month_usd", Kind::usd, "Since its first day, UTC.").must()}};
    return shape;
}

const Shape& process_shape()
{
    static const Shape shape{
        "Process",
        "What the kernel says of the process; what it does not say is left out.",
        {field("started_at", Kind::time, ""), field("cpu_seconds", Kind::number, ""),
         field("threads", Kind::integer, ""), field("resident_bytes", Kind::integer, ""),
         field("virtual_bytes", Kind::integer, ""), field("open_fds", Kind::integer, ""),
         field("max_fds", Kind::integer, "")}};
    return shape;
}

const Shape& stats_shape()
{
    static const Shape shape{
        "Stats",
        "Figures of the moment.",
        {field("time", Kind::time, "").must(),
         object("backends", backend_stats_shape(), "").must().list(10'000),
         object("projects", project_stats_shape(),
                "The first 1000; null: there is no store, or it does not answer.")
             .must()
             .or_null()
             .list(1000),
         object("process", process_shape(), "").must()}};
    return shape;
}

Json show(const telemetry::TimeSummary& times)
{
    if (times.count == 0) {
        return nullptr;
    }
    Json shown = Json::object();
    shown["count"] = times.count;
    shown["mean_ms"] = milliseconds(times.mean);
    shown["p50_ms"] = milliseconds(times.p50);
    shown["p95_ms"] = milliseconds(times.p95);
    shown["p99_ms"] = milliseconds(times.p99);
    shown["max_ms"] = milliseconds(times.most);
    return shown;
}

Json show(const Counts& counts)
{
    auto shown = Json::array();
    for (const auto& [name, count] : counts) {
        shown.push_back(Json{{"name", name}, {"count", count}});
    }
    return shown;
}

Json show(const telemetry::BackendStats& stats, const upstream::Backend* backend)
{
    Json shown = Json::object();
    shown["name"] = stats.name;
    shown["in_use"] = backend != nullptr;
    shown["circuit"] =
        backend == nullptr ? Json(nullptr) : Json(policy::to_string(backend->circuit().state()));
    shown["in_flight"] = backend == nullptr ? 0 : backend->leased();
    shown["requests"] = stats.requests;
    shown["outcomes"] = show(stats.outcomes);
    shown["attempts"] = show(stats.attempts);
    shown["duration"] = show(stats.duration);
    shown["first_byte"] = show(stats.first_byte);
    return shown;
}

/// Those in use, busy or not, and those that were.
Json show_backends(const ManageParts& parts)
{
    std::map<std::string, telemetry::BackendStats> counted;
    for (auto& one : parts.metrics->stats()) {
        counted.emplace(one.name, std::move(one));
    }
    auto shown = Json::array();
    for (const auto& backend : parts.backends()->all()) {
        auto found = counted.extract(backend->name());
        telemetry::BackendStats idle;
        idle.name = backend->name();
        shown.push_back(show(found ? found.mapped() : idle, backend.get()));
    }
    for (const auto& [name, stats] : counted) {
        shown.push_back(show(stats, nullptr));
    }
    return shown;
}

Json show_process()
{
    const auto figures = telemetry::read_process();
    Json shown = Json::object();
    if (const auto& stat = figures.stat) {
        if (stat->started) {
            shown["started_at"] = core::to_text(core::SystemTime(
                std::chrono::milliseconds(static_cast<std::int64_t>(*stat->started * 1000))));
        }
        shown["cpu_seconds"] = stat->cpu_seconds;
        shown["threads"] = stat->threads;
        shown["resident_bytes"] = stat->resident_bytes;
        shown["virtual_bytes"] = stat->virtual_bytes;
    }
    if (figures.open_descriptors) {
        shown["open_fds"] = *figures.open_descriptors;
    }
    if (figures.most_descriptors) {
        shown["max_fds"] = *figures.most_descriptors;
    }
    return shown;
}

using Spending = std::map<core::ProjectId, core::NanoUsd>;

core::Task<core::Result<Spending>> spent_since(ManageParts& parts, core::SystemTime start)
{
    storage::UsageQuery query;
    query.filter.from = start;
    query.filter.to = core::SystemTime::max();
    query.group_by.push_back(storage::UsageDimension::project);
    storage::PageRequest page(static_cast<std::uint32_t>(kMostPerPage));
    auto groups = co_await parts.store->usage_sums(std::move(query), page);
    if (!groups) {
        co_return groups.error();
    }
    Spending spending;
    for (const auto& group : groups->rows) {
        spending[group.project] = group.totals.cost;
    }
    co_return spending;
}

/// Out of the store's sums by hour.
core::Task<core::Result<Json>> show_projects(ManageParts& parts, core::SystemTime now)
{
    storage::PageRequest page(static_cast<std::uint32_t>(kMostPerPage));
    auto projects = co_await parts.store->projects(page);
    if (!projects) {
        co_return projects.error();
    }
    auto today =
        co_await spent_since(parts, storage::period_of(storage::PeriodKind::day, now).start);
    if (!today) {
        co_return today.error();
    }
    auto month =
        co_await spent_since(parts, storage::period_of(storage::PeriodKind::month, now).start);
    if (!month) {
        co_return month.error();
    }
    auto shown = Json::array();
    for (const auto& project : projects->rows) {
        Json one = Json::object();
        one["id"] = to_text(project.id);
        one["name"] = project.name;
        one["today_usd"] = core::to_text((*today)[project.id]);
        one["month_usd"] = core::to_text((*month)[project.id]);
        shown.push_back(std::move(one));
    }
    co_return core::Result<Json>(std::move(shown));
}

core::Task<core::Result<Reply>> get_stats(ManageParts& parts, Call& call)
{
    Json shown = Json::object();
    shown["time"] = core::to_text(call.now);
    shown["backends"] = show_backends(parts);
    shown["projects"] = nullptr;
    if (parts.store) {
        auto projects = co_await show_projects(parts, call.now);
        if (projects) {
            shown["projects"] = std::move(*projects);
        } else {
            telemetry::log("manage").warn(call.request_id, "figures without the store's part",
                                          {{"error", projects.error().describe()}});
        }
    }
    shown["process"] = show_process();
    co_return Reply(std::move(shown));
}

}  // namespace

void add_stats_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/stats", "getStats", "operation",
                          "What was counted of backends, what projects spent, and the process.",
                          get_stats)
                        .gives(stats_shape())
                        .without_store());
}

}  // namespace llmproxy::handlers::manage
