#include "audit.hpp"
#include "llmproxy/accounts/rate_limiter.hpp"
#include "projects.hpp"
#include "route.hpp"
#include "subjects.hpp"

#include <set>

namespace llmproxy::handlers::manage {
namespace {

using storage::LimitRow;

struct Figure {
    const char* name;
    std::optional<std::int64_t> LimitRow::*value;
    const char* description;
};

constexpr std::array<Figure, 5> kFigures{{
    {"requests_per_minute", &LimitRow::requests_per_minute, ""},
    {"tokens_per_minute", &LimitRow::tokens_per_minute, "Of prompts and completions."},
    {"bytes_per_minute", &LimitRow::bytes_per_minute, "Both ways, of bodies and tunnels."},
    {"concurrent_requests", &LimitRow::concurrent_requests, "Requests under way at once."},
    {"tunnels", &LimitRow::tunnels, "Tunnels open at once."},
}};

Property route_field()
{
    return field("route", Kind::text,
                 "Of this route alone, which the limits for all routes then do not bind; null: "
                 "of all others.")
        .or_null()
        .between(1, 64)
        .checked([](std::string_view word) -> std::string_view {
            return accounts::is_limited_route(word)
                       ? ""
                       : "a route that can be limited, e.g. chat_completions or connect";
        });
}

std::vector<Property> limit_fields(bool shown)
{
    std::vector<Property> fields{route_field()};
    for (const auto& figure : kFigures) {
        fields.push_back(field(figure.name, Kind::integer, figure.description)
                             .or_null()
                             .between(0, 1'000'000'000'000));
    }
    for (auto& one : fields) {
        one.required = shown;
    }
    return fields;
}

const Shape& limit_shape(bool shown)
{
    static const Shape asked{"LimitUpdate", "What is not given is not limited.",
                             limit_fields(false)};
    static const Shape given{"Limit", "Null: not limited.", limit_fields(true)};
    return shown ? given : asked;
}

const Shape& limits_shape(bool shown)
{
    static const Shape asked{
        "LimitsUpdate",
        "All limits; they take the place of those that were there.",
        {object("limits", limit_shape(false), "One for each route at most.").must().list(20)}};
    static const Shape given{
        "Limits", "All limits.", {object("limits", limit_shape(true), "").must().list(20)}};
    return shown ? given : asked;
}

Json show(const LimitRow& row)
{
    Json shown = Json::object();
    shown["route"] = row.route.empty() ? Json(nullptr) : Json(row.route);
    for (const auto& figure : kFigures) {
        const auto& value = row.*figure.value;
        shown[figure.name] = value ? Json(*value) : Json(nullptr);
    }
    return shown;
}

Json show(const std::vector<LimitRow>& rows)
{
    Json body = Json::object();
    auto& list = body["limits"] = Json::array();
    for (const auto& row : rows) {
        list.push_back(show(row));
    }
    return body;
}

core::Result<std::vector<LimitRow>> read_limits(const Json& body)
{
    std::vector<LimitRow> rows;
    std::set<std::string> routes;
    for (const auto& one : body["limits"]) {
        LimitRow row;
        const auto route = one.find("route");
        if (route != one.end() && !route->is_null()) {
            row.route = route->get<std::string>();
        }
        for (const auto& figure : kFigures) {
            const auto value = one.find(figure.name);
            if (value != one.end() && !value->is_null()) {
                row.*figure.value = value->get<std::int64_t>();
            }
        }
        if (!routes.insert(row.route).second) {
            return bad_field("limits[" + std::to_string(rows.size()) + "].route",
                             "another route than those before it");
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

core::Task<core::Result<Reply>> get_limits(ManageParts& parts, Call& call)
{
    // The version first: should the limits change in between, a change that begins from it is refused.
    auto at = co_await find_subject(parts, call);
    if (!at) {
        co_return at.error();
    }
    auto rows = co_await parts.store->limits(at->subject);
    if (!rows) {
        co_return rows.error();
    }
    Reply reply(show(*rows));
    reply.fields = etag(at->version);
    co_return reply;
}

core::Task<core::Result<Reply>> set_limits(ManageParts& parts, Call& call)
{
    auto rows = read_limits(call.body);
    if (!rows) {
        co_return rows.error();
    }
    auto at = co_await find_subject(parts, call);
    if (!at) {
        co_return at.error();
    }
    const auto allowed = call.if_match.check(at->version);
    if (!allowed) {
        co_return allowed.error();
    }
    auto before = co_await parts.store->limits(at->subject);
    if (!before) {
        co_return before.error();
    }
    Reply reply(show(*rows));
    auto audit =
        audit_row(call, std::string(kind_of(at->subject)) + ".limits", kind_of(at->subject),
                  std::to_string(at->subject.id), show(*before), reply.body);
    auto version = co_await parts.store->set_limits(at->subject, at->version, std::move(*rows),
                                                    std::move(audit));
    if (!version) {
        co_return change_failure(version.error());
    }
    announce(parts, at->subject);
    reply.fields = etag(*version);
    co_return reply;
}

}  // namespace

void add_limit_routes(std::vector<Route>& table)
{
    const auto add = [&table](std::string_view path, std::string_view read_name,
                              std::string_view set_name) {
        table.push_back(
            route(http::Verb::get, path, read_name, "limits", "Rate limits of its own.", get_limits)
                .gives(limits_shape(true))
                .tagged());
        table.push_back(route(http::Verb::put, path, set_name, "limits",
                              "Replace the rate limits; takes effect at once.", set_limits)
                            .takes(limits_shape(false))
                            .gives(limits_shape(true))
                            .tagged()
                            .if_match());
    };
    add("/manage/projects/{project}/limits", "getProjectLimits", "setProjectLimits");
    add("/manage/tokens/{token}/limits", "getTokenLimits", "setTokenLimits");
}

}  // namespace llmproxy::handlers::manage
