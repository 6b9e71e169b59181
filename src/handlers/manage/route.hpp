#pragma once

#include "call.hpp"
#include "shape.hpp"

#include "llmproxy/http/head.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::handlers::manage {

/// One method at one path: all that is checked before its function is called, and all that
/// `/manage/openapi.json` says about it.
struct Route {
    http::Verb verb = http::Verb::get;
    std::string_view path;       ///< a segment `{name}` is a parameter
    std::string_view operation;  ///< unique name
    std::string_view tag;
    std::string_view summary;
    Answer answer = nullptr;

    unsigned status = 200;                ///< of success
    const Shape* response = nullptr;      ///< none: no JSON
    std::vector<std::string_view> media;  ///< of answers that are not JSON
    const Shape* request = nullptr;       ///< none: a body is not looked at
    bool body_optional = false;
    std::vector<Property> query;

    bool changes = false;      ///< for admins only
    bool conditional = false;  ///< needs If-Match
    bool has_etag = false;
    bool can_conflict = false;
    bool needs_store = true;

    Route gives(const Shape& shape, unsigned code = 200) &&
    {
        response = &shape;
        status = code;
        return std::move(*this);
    }
    Route takes(const Shape& shape) &&
    {
        request = &shape;
        return std::move(*this);
    }
    Route with(std::vector<Property> parameters) &&
    {
        query = std::move(parameters);
        return std::move(*this);
    }
    Route tagged() &&
    {
        has_etag = true;
        return std::move(*this);
    }
    Route if_match() &&
    {
        conditional = true;
        return std::move(*this);
    }
    Route conflicting() &&
    {
        can_conflict = true;
        return std::move(*this);
    }
    /// Nothing is changed, whatever the method.
    Route only_asking() &&
    {
        changes = false;
        return std::move(*this);
    }
    Route without_store() &&
    {
        needs_store = false;
        return std::move(*this);
    }

    /// The names in the path's braces, in order.
    [[nodiscard]] std::vector<std::string_view> path_parameters() const;
    /// Every status that the route can answer with, ascending.
    [[nodiscard]] std::vector<unsigned> statuses() const;
};

/// All routes, in the order of the document. Made once; may be read from any thread.
[[nodiscard]] const std::vector<Route>& routes();

/// What serves a path: of several methods at it the one asked for.
struct Match {
    const Route* route = nullptr;
    std::vector<std::string> parameters;
    std::string allow;  ///< the methods at this path; empty: nothing is there
};

/// HEAD is served by what serves GET. A path without parameters wins over one with.
[[nodiscard]] Match match(http::Verb verb, std::string_view path);

/// Parts of the table, one per group of resources.
/// @{
void add_operation_routes(std::vector<Route>& table);
void add_project_routes(std::vector<Route>& table);
void add_token_routes(std::vector<Route>& table);
void add_limit_routes(std::vector<Route>& table);
void add_budget_routes(std::vector<Route>& table);
void add_key_routes(std::vector<Route>& table);
void add_usage_routes(std::vector<Route>& table);
void add_audit_routes(std::vector<Route>& table);
void add_backend_routes(std::vector<Route>& table);
void add_request_routes(std::vector<Route>& table);
void add_stats_routes(std::vector<Route>& table);
void add_explain_routes(std::vector<Route>& table);
/// @}

/// For the parts.
[[nodiscard]] Route route(http::Verb verb, std::string_view path, std::string_view operation,
                          std::string_view tag, std::string_view summary, Answer answer);

}  // namespace llmproxy::handlers::manage
