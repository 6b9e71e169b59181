#include "route.hpp"

#include <algorithm>
#include <set>

namespace llmproxy::handlers::manage {
namespace {

bool is_parameter(std::string_view segment) noexcept
{
    return segment.starts_with('{');
}

/// Takes the first segment off a path.
std::string_view take_segment(std::string_view& path) noexcept
{
    const auto end = path.find('/');
    const auto segment = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    return segment;
}

std::optional<std::vector<std::string>> fit(std::string_view shape, std::string_view path)
{
    std::vector<std::string> values;
    while (!shape.empty() || !path.empty()) {
        if (shape.empty() || path.empty()) {
            return std::nullopt;
        }
        const bool more = path.find('/') != std::string_view::npos;
        const auto wanted = take_segment(shape);
        const auto segment = take_segment(path);
        if (is_parameter(wanted) && !segment.empty()) {
            values.emplace_back(segment);
        } else if (wanted != segment) {
            return std::nullopt;
        }
        if (more && path.empty()) {
            return std::nullopt;  // it ends in a slash
        }
    }
    return values;
}

std::vector<Route> make_routes()
{
    std::vector<Route> table;
    add_operation_routes(table);
    add_project_routes(table);
    add_token_routes(table);
    add_limit_routes(table);
    add_budget_routes(table);
    add_key_routes(table);
    add_usage_routes(table);
    add_backend_routes(table);
    add_request_routes(table);
    add_stats_routes(table);
    add_explain_routes(table);
    add_audit_routes(table);
    return table;
}

}  // namespace

std::vector<std::string_view> Route::path_parameters() const
{
    std::vector<std::string_view> names;
    for (auto rest = path; !rest.empty();) {
        const auto segment = take_segment(rest);
        if (is_parameter(segment)) {
            names.push_back(segment.substr(1, segment.size() - 2));
        }
    }
    return names;
}

std::vector<unsigned> Route::statuses() const
{
    std::set<unsigned> all{status, 400, 401, 429};
    const auto add = [&all](bool when, std::initializer_list<unsigned> codes) {
        if (when) {
            all.insert(codes);
        }
    };
    add(changes, {403});
    add(!path_parameters().empty() && verb != http::Verb::delete_, {404});
    add(can_conflict, {409});
    add(conditional, {412, 428});
    add(verb == http::Verb::delete_, {412});
    add(request != nullptr, {413, 415});
    add(needs_store, {503});
    return {all.begin(), all.end()};
}

Route route(http::Verb verb, std::string_view path, std::string_view operation,
            std::string_view tag, std::string_view summary, Answer answer)
{
    Route made;
    made.verb = verb;
    made.path = path;
    made.operation = operation;
    made.tag = tag;
    made.summary = summary;
    made.answer = answer;
    made.changes = verb != http::Verb::get;
    return made;
}

const std::vector<Route>& routes()
{
    static const auto table = make_routes();
    return table;
}

Match match(http::Verb verb, std::string_view path)
{
    const auto wanted = verb == http::Verb::head ? http::Verb::get : verb;
    Match found;
    const auto is_literal = [path](const Route& one) { return one.path == path; };
    const bool literal = std::any_of(routes().begin(), routes().end(), is_literal);
    for (const auto& one : routes()) {
        auto values = fit(one.path, path);
        if (!values || (literal && one.path != path)) {
            continue;
        }
        const auto method = boost::beast::http::to_string(one.verb);
        found.allow += found.allow.empty() ? "" : ", ";
        found.allow.append(method.data(), method.size());
        found.allow += one.verb == http::Verb::get ? ", HEAD" : "";
        if (one.verb == wanted) {
            found.route = &one;
            found.parameters = std::move(*values);
        }
    }
    return found;
}

}  // namespace llmproxy::handlers::manage
