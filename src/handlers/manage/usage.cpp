#include "usage.hpp"

#include "ids.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/core/time_text.hpp"
#include "paging.hpp"
#include "route.hpp"

#include <algorithm>
#include <array>

namespace llmproxy::handlers::manage {
namespace {

using storage::TokenCounts;
using storage::UsageDimension;
using storage::UsageGroup;
using storage::UsageRow;

struct Count {
    const char* name;
    std::int64_t TokenCounts::*value;
    const char* description;
};

constexpr std::array<Count, 7> kCounts{{
    {"prompt_tokens", &TokenCounts::prompt, ""},
    {"cached_tokens", &TokenCounts::cached, "Of the prompt."},
    {"cache_write_tokens", &TokenCounts::cache_write, "Of the prompt."},
    {"audio_input_tokens", &TokenCounts::audio_input, "Of the prompt."},
    {"completion_tokens", &TokenCounts::completion, ""},
    {"reasoning_tokens", &TokenCounts::reasoning, "Of the completion."},
    {"audio_output_tokens", &TokenCounts::audio_output, "Of the completion."},
}};

struct Dimension {
    std::string_view word;
    UsageDimension dimension;
};

constexpr std::array<Dimension, 8> kDimensions{{
    {"project", UsageDimension::project},
    {"token", UsageDimension::token},
    {"route", UsageDimension::route},
    {"backend", UsageDimension::backend},
    {"model", UsageDimension::requested_model},
    {"served_model", UsageDimension::served_model},
    {"hour", UsageDimension::hour},
    {"day", UsageDimension::day},
}};

std::vector<std::string_view> dimension_words()
{
    std::vector<std::string_view> words;
    for (const auto& one : kDimensions) {
        words.push_back(one.word);
    }
    return words;
}

void put_counts(Json& into, const TokenCounts& tokens)
{
    for (const auto& one : kCounts) {
        into[one.name] = tokens.*one.value;
    }
}

void add_count_fields(std::vector<Property>& fields)
{
    for (const auto& one : kCounts) {
        fields.push_back(field(one.name, Kind::integer, one.description).must());
    }
}

Json milliseconds(core::Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

std::vector<Property> usage_fields()
{
    const auto text = [](std::string_view name, std::string description) {
        return field(name, Kind::text, std::move(description)).must();
    };
    std::vector<Property> fields{
        field("time", Kind::time, "When it was admitted.").must(),
        text("request", "The proxy's own id of it."),
        field("attempt", Kind::integer, "From 1.").must(),
        text("request_id", "x-request-id; as `request` if the client gave none."),
        text("project", "").or_null(),
        text("token", "").or_null(),
        text("route", ""),
        text("backend", ""),
        field("key", Kind::integer, "Which of the backend's keys.").must(),
        text("model", "As the client asked for it."),
        text("served_model", "As the upstream named it."),
        text("host", "Of tunnels and forwarded requests.")};
    add_count_fields(fields);
    for (auto& one : std::vector<Property>{
             field("estimated", Kind::boolean, "The tokens, and so the cost, are an estimate."),
             field("cost_usd", Kind::usd, ""),
             field("priced", Kind::boolean, "False: no price was known, the cost says nothing."),
             field("status", Kind::integer, "Of the upstream's answer; 0: none came."),
             field("outcome", Kind::text, "`ok`, the code of an error, or `indeterminate`."),
             field("finish_reason", Kind::text, ""), field("stream", Kind::boolean, ""),
             field("first_byte_ms", Kind::number, "Null: there was none.").or_null(),
             field("duration_ms", Kind::number, ""),
             field("bytes_in", Kind::integer, "From the client."),
             field("bytes_out", Kind::integer, "To the client.")}) {
        one.required = true;
        fields.push_back(std::move(one));
    }
    return fields;
}

const Shape& usage_list()
{
    static const auto shape = list_of("UsageList", usage_shape());
    return shape;
}

const Shape& sum_shape()
{
    static const auto shape = [] {
        Shape made{"UsageSum", "Sums of usage; of what is not grouped by, nothing is said.", {}};
        for (const auto* name : {"project", "token", "route", "backend", "model", "served_model"}) {
            made.properties.push_back(field(name, Kind::text, "").or_null());
        }
        made.properties.push_back(field("start", Kind::time, "Of the hour or day."));
        made.properties.push_back(field("attempts", Kind::integer, "").must());
        made.properties.push_back(field("failed", Kind::integer, "Of the attempts.").must());
        made.properties.push_back(field("estimated", Kind::integer, "Of the attempts.").must());
        add_count_fields(made.properties);
        made.properties.push_back(field("cost_usd", Kind::usd, "").must());
        made.properties.push_back(field("duration_ms", Kind::number, "").must());
        made.properties.push_back(field("bytes_in", Kind::integer, "").must());
        made.properties.push_back(field("bytes_out", Kind::integer, "").must());
        return made;
    }();
    return shape;
}

const Shape& sum_list()
{
    static const auto shape = list_of("UsageSumList", sum_shape());
    return shape;
}

template <typename Id>
Json id_or_null(Id id)
{
    return id == Id::none ? Json(nullptr) : Json(to_text(id));
}

void put_dimension(Json& into, const UsageGroup& group, UsageDimension dimension)
{
    switch (dimension) {
    case UsageDimension::project: into["project"] = id_or_null(group.project); break;
    case UsageDimension::token: into["token"] = id_or_null(group.token); break;
    case UsageDimension::route: into["route"] = group.route; break;
    case UsageDimension::backend: into["backend"] = group.backend; break;
    case UsageDimension::requested_model: into["model"] = group.requested_model; break;
    case UsageDimension::served_model: into["served_model"] = group.served_model; break;
    case UsageDimension::hour:
    case UsageDimension::day: into["start"] = core::to_text(group.time); break;
    }
}

Json show_sum(const UsageGroup& group, const std::vector<UsageDimension>& group_by)
{
    Json shown = Json::object();
    for (const auto dimension : group_by) {
        put_dimension(shown, group, dimension);
    }
    const auto& totals = group.totals;
    shown["attempts"] = totals.attempts;
    shown["failed"] = totals.failed;
    shown["estimated"] = totals.estimated;
    put_counts(shown, totals.tokens);
    shown["cost_usd"] = core::to_text(totals.cost);
    shown["duration_ms"] = milliseconds(totals.duration);
    shown["bytes_in"] = totals.bytes_in;
    shown["bytes_out"] = totals.bytes_out;
    return shown;
}

core::Result<std::vector<UsageDimension>> read_group_by(const Call& call)
{
    std::vector<UsageDimension> group_by;
    for (const auto& word : call.parameter<std::vector<std::string>>("group_by")
                                .value_or(std::vector<std::string>())) {
        const auto found = std::find_if(kDimensions.begin(), kDimensions.end(),
                                        [&](const auto& one) { return one.word == word; });
        const auto dimension = found->dimension;
        const auto has = [&](UsageDimension one) {
            return std::find(group_by.begin(), group_by.end(), one) != group_by.end();
        };
        const bool two_times = (dimension == UsageDimension::hour && has(UsageDimension::day)) ||
                               (dimension == UsageDimension::day && has(UsageDimension::hour));
        if (has(dimension) || two_times) {
            return bad_field("group_by", "each word once, and only one of hour and day");
        }
        group_by.push_back(dimension);
    }
    return group_by;
}

core::Task<core::Result<Reply>> list_usage(ManageParts& parts, Call& call)
{
    const bool oldest_first = call.parameter<std::string>("order") == "oldest";
    auto page = co_await parts.store->usage(filter_of(call), page_of(call, !oldest_first));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(*page, show_usage);
}

core::Task<core::Result<Reply>> sum_usage(ManageParts& parts, Call& call)
{
    auto group_by = read_group_by(call);
    if (!group_by) {
        co_return group_by.error();
    }
    storage::UsageQuery query;
    query.filter = filter_of(call);
    query.group_by = *group_by;
    auto page = co_await parts.store->usage_sums(std::move(query), page_of(call));
    if (!page) {
        co_return page_failure(page.error(), call);
    }
    co_return page_reply(
        *page, [&group_by](const UsageGroup& group) { return show_sum(group, *group_by); });
}

}  // namespace

std::vector<Property> usage_filters()
{
    return {field("from", Kind::time, "From then on."),
            field("to", Kind::time, "Before then."),
            project_field("project", "Of this project."),
            token_field("token", "Of this token."),
            name_field("route", "E.g. `chat_completions` or `connect`."),
            name_field("backend", "Of this backend."),
            name_field("model", "As clients asked for it."),
            name_field("served_model", "As the upstream named it.")};
}

std::vector<Property> row_filters()
{
    auto filters = usage_filters();
    filters.push_back(name_field("outcome", "E.g. `ok`."));
    filters.push_back(name_field("request_id", "x-request-id, or `request`."));
    return filters;
}

storage::UsageFilter filter_of(const Call& call)
{
    storage::UsageFilter filter;
    filter.from = time_parameter(call, "from").value_or(core::SystemTime());
    filter.to = time_parameter(call, "to").value_or(core::SystemTime::max());
    if (const auto project = call.parameter<std::string>("project")) {
        filter.project = parse_project(*project);
    }
    if (const auto token = call.parameter<std::string>("token")) {
        filter.token = parse_token(*token);
    }
    filter.route = call.parameter<std::string>("route");
    filter.backend = call.parameter<std::string>("backend");
    filter.requested_model = call.parameter<std::string>("model");
    filter.served_model = call.parameter<std::string>("served_model");
    filter.outcome = call.parameter<std::string>("outcome");
    filter.request_id = call.parameter<std::string>("request_id");
    return filter;
}

const Shape& usage_shape()
{
    static const Shape shape{"Usage", "One attempt that may have cost something.", usage_fields()};
    return shape;
}

Json show_usage(const UsageRow& row)
{
    const auto request = core::to_text(row.request);
    Json shown = Json::object();
    shown["time"] = core::to_text(row.time());
    shown["request"] = request;
    shown["attempt"] = row.attempt;
    shown["request_id"] = row.request_id.empty() ? request : row.request_id;
    shown["project"] = id_or_null(row.project);
    shown["token"] = id_or_null(row.token);
    shown["route"] = row.route;
    shown["backend"] = row.backend;
    shown["key"] = row.key;
    shown["model"] = row.requested_model;
    shown["served_model"] = row.served_model;
    shown["host"] = row.host;
    put_counts(shown, row.tokens);
    shown["estimated"] = row.estimated;
    shown["cost_usd"] = core::to_text(row.cost);
    shown["priced"] = row.priced;
    shown["status"] = row.status;
    shown["outcome"] = row.outcome;
    shown["finish_reason"] = row.finish_reason;
    shown["stream"] = row.stream;
    shown["first_byte_ms"] =
        row.first_byte < core::Duration(0) ? Json(nullptr) : milliseconds(row.first_byte);
    shown["duration_ms"] = milliseconds(row.duration);
    shown["bytes_in"] = row.bytes_in;
    shown["bytes_out"] = row.bytes_out;
    return shown;
}

void add_usage_routes(std::vector<Route>& table)
{
    auto listing = row_filters();
    listing.push_back(
        field("order", Kind::text, "`newest` first if not given.").one_of({"newest", "oldest"}));
    table.push_back(route(http::Verb::get, "/manage/usage", "listUsage", "usage",
                          "Usage, one entry per attempt.", list_usage)
                        .gives(usage_list())
                        .with(paged(std::move(listing))));
    auto summing = usage_filters();
    summing.push_back(field("group_by", Kind::text, "What sums are told apart by.")
                          .one_of(dimension_words())
                          .list(8));
    table.push_back(route(http::Verb::get, "/manage/usage/sums", "sumUsage", "usage",
                          "Sums of usage.", sum_usage)
                        .gives(sum_list())
                        .with(paged(std::move(summing))));
    auto exporting = row_filters();
    exporting.push_back(
        field("format", Kind::text, "`csv` if not given.").one_of({"csv", "ndjson"}));
    auto whole = route(http::Verb::get, "/manage/usage/export", "exportUsage", "usage",
                       "All usage that fits, the oldest first, as CSV or one JSON object per line.",
                       export_usage)
                     .with(std::move(exporting));
    whole.media = {"text/csv", "application/x-ndjson"};
    table.push_back(std::move(whole));
}

}  // namespace llmproxy::handlers::manage
