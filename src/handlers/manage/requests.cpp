#include "requests.hpp"

#include "ids.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/telemetry/access_fields.hpp"
#include "paging.hpp"
#include "route.hpp"

#include <array>
#include <limits>

namespace llmproxy::handlers::manage {
namespace {

using telemetry::AccessFieldType;
using telemetry::AccessRecord;
using Entry = telemetry::RecentRequests::Entry;

Property property_of(const telemetry::AccessFieldInfo& info, const Shape* inner)
{
    const auto kind_of = [](AccessFieldType type) {
        switch (type) {
        case AccessFieldType::text: return Kind::text;
        case AccessFieldType::time: return Kind::time;
        case AccessFieldType::integer: return Kind::integer;
        case AccessFieldType::milliseconds: return Kind::number;
        case AccessFieldType::boolean: return Kind::boolean;
        case AccessFieldType::tries: break;
        }
        return Kind::object;
    };
    auto made = field(info.name, kind_of(info.type), std::string(info.help));
    made.required = info.always;
    if (info.type == AccessFieldType::tries) {
        made.shape = inner;
        made.required = true;
        return std::move(made).list(1000);
    }
    return made;
}

const Shape& try_shape()
{
    static const auto shape = [] {
        Shape made{"Attempt", "One attempt at a backend.", {}};
        for (const auto& info : telemetry::try_fields()) {
            made.properties.push_back(property_of(info, nullptr));
        }
        return made;
    }();
    return shape;
}

const Shape& request_shape()
{
    static const auto shape = [] {
        Shape made{"Request",
                   "A finished request, as a line of the access log tells it.",
                   {field("number", Kind::integer, "Counted from 1 since the start.").must()}};
        for (const auto& info : telemetry::access_fields()) {
            made.properties.push_back(property_of(info, &try_shape()));
        }
        return made;
    }();
    return shape;
}

const Shape& request_list()
{
    static const auto shape = list_of("RequestList", request_shape());
    return shape;
}

std::string_view check_status(std::string_view text)
{
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    const bool exact = text.size() == 3 && digit(text[0]) && digit(text[1]) && digit(text[2]);
    const bool whole_class =
        text.size() == 3 && text[0] >= '1' && text[0] <= '5' && text.substr(1) == "xx";
    return exact || whole_class || text == "0" ? "" : "a status, or a class of them such as `5xx`";
}

bool has_status(std::uint16_t status, const std::string& wanted)
{
    if (wanted.ends_with("xx")) {
        return status / 100 == wanted.front() - '0';
    }
    return core::parse_number<std::uint16_t>(wanted) == status;
}

/// What a filter on texts compares.
struct TextFilter {
    std::string_view name;
    std::string_view description;
    std::string_view (*value)(const AccessRecord& record);
};

constexpr std::array<TextFilter, 6> kTextFilters{{
    {"outcome", "E.g. `ok` or `upstream_timeout`.",
     [](const AccessRecord& record) { return record.outcome; }},
    {"backend", "Of this backend.",
     [](const AccessRecord& record) { return std::string_view(record.backend); }},
    {"model", "As the client asked for it.",
     [](const AccessRecord& record) { return std::string_view(record.model); }},
    {"project", "Of the project of this name.",
     [](const AccessRecord& record) { return std::string_view(record.project); }},
    {"token", "Of tokens of this name.",
     [](const AccessRecord& record) { return std::string_view(record.token); }},
    {"route", "E.g. `chat_completions` or `connect`.",
     [](const AccessRecord& record) { return record.route; }},
}};

/// The only attempt, which a record does not list.
void list_only_attempt(AccessRecord& record)
{
    if (!record.tries.empty() || record.attempts == 0 || record.backend.empty()) {
        return;
    }
    telemetry::AttemptRecord one;
    const bool answered = record.outcome == "ok" || record.outcome == "client_gone";
    one.backend = record.backend;
    one.key = record.key;
    one.outcome = record.refused_as.empty() ? record.outcome : record.refused_as;
    one.status = answered ? record.status : 0;
    one.circuit = record.circuit;
    one.bytes_sent = record.attempt_bytes;
    one.duration = record.times.attempt_at < core::Duration::zero()
                       ? core::Duration(-1)
                       : record.times.total - record.times.attempt_at;
    record.tries.push_back(std::move(one));
}

core::Task<core::Result<Reply>> list_requests(ManageParts& parts, Call& call)
{
    auto before = std::numeric_limits<std::uint64_t>::max();
    if (const auto after = call.parameter<std::string>("after")) {
        const auto number = core::parse_number<std::uint64_t>(*after);
        if (!number) {
            co_return bad_field("after", "`next` of a page of the same list");
        }
        before = *number;
    }
    const auto limit = static_cast<std::size_t>(page_of(call).limit);
    storage::Page<Entry> page;
    page.rows = parts.recent->newest(before, limit + 1, wanted_of(call));
    if (page.rows.size() > limit) {
        page.rows.pop_back();
        page.next = std::to_string(page.rows.back().number);
    }
    co_return page_reply(page, show_request);
}

core::Task<core::Result<Reply>> get_request(ManageParts& parts, Call& call)
{
    const auto found = parts.recent->find(call.path[0]);
    if (!found) {
        co_return core::Failure(core::Errc::not_found, core::Origin::client, "no such request")
            .say("There is no request of this id among the last " +
                 std::to_string(parts.recent->capacity()) + " (telemetry.recent_requests).");
    }
    co_return Reply(show_request(*found));
}

}  // namespace

std::vector<Property> request_filters()
{
    std::vector<Property> filters{
        field("status", Kind::text, "Of the answer, e.g. `429`, or a class of them, e.g. `5xx`.")
            .between(1, 3)
            .like("^(0|[0-9]{3}|[1-5]xx)$")
            .checked(check_status)};
    for (const auto& one : kTextFilters) {
        filters.push_back(name_field(one.name, std::string(one.description)));
    }
    filters.push_back(field("since", Kind::time, "That began then or later."));
    filters.push_back(field("slow", Kind::boolean,
                            "Whether it took longer than logging.slow_request_threshold."));
    return filters;
}

telemetry::RecentRequests::Wanted wanted_of(const Call& call)
{
    std::vector<std::pair<const TextFilter*, std::string>> texts;
    for (const auto& one : kTextFilters) {
        if (auto given = call.parameter<std::string>(one.name)) {
            texts.emplace_back(&one, std::move(*given));
        }
    }
    return [texts = std::move(texts), status = call.parameter<std::string>("status"),
            since = time_parameter(call, "since"),
            slow = call.parameter<bool>("slow")](const AccessRecord& record) {
        for (const auto& [filter, wanted] : texts) {
            if (filter->value(record) != wanted) {
                return false;
            }
        }
        return (!status || has_status(record.status, *status)) &&
               (!since || record.start >= *since) && (!slow || record.slow == *slow);
    };
}

Json show_request(const Entry& entry)
{
    auto record = entry.record;
    list_only_attempt(record);
    std::string line;
    telemetry::append_json_line(line, record);
    Json shown = Json::object();
    shown["number"] = entry.number;
    shown.update(Json::parse(line));
    if (record.tries.empty()) {
        shown["tries"] = Json::array();
    }
    return shown;
}

void add_request_routes(std::vector<Route>& table)
{
    table.push_back(route(http::Verb::get, "/manage/requests", "listRequests", "requests",
                          "The last requests that were finished, the newest first.", list_requests)
                        .gives(request_list())
                        .with(paged(request_filters()))
                        .without_store());
    auto filters = request_filters();
    filters.push_back(
        field("last", Kind::integer, "Begin with so many that are over already; 0 if not given.")
            .between(0, kMostPerPage));
    filters.push_back(
        field("limit", Kind::integer, "End after so many requests.").between(1, 1'000'000'000));
    auto tail = route(http::Verb::get, "/manage/requests/tail", "tailRequests", "requests",
                      "Requests as they finish: events `request`, `missed`, `end`.", tail_requests)
                    .with(std::move(filters))
                    .without_store();
    tail.media = {"text/event-stream"};
    table.push_back(std::move(tail));
    table.push_back(route(http::Verb::get, "/manage/requests/{request}", "getRequest", "requests",
                          "The newest request with this id.", get_request)
                        .gives(request_shape())
                        .without_store());
}

}  // namespace llmproxy::handlers::manage
