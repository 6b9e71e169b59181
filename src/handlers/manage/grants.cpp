#include "grants.hpp"

#include "llmproxy/core/host.hpp"

#include <string_view>

namespace llmproxy::handlers::manage {
namespace {

constexpr std::size_t kMost = 1000;

std::string_view check_host(std::string_view text)
{
    return core::HostPattern::parse(text)
               ? ""
               : "a host, an address or *.domain, with or without a port";
}

std::string_view check_route(std::string_view text)
{
    constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz_";
    return text.find_first_not_of(kAllowed) == std::string_view::npos
               ? ""
               : "the word that logs have for a route, e.g. files";
}

void read_list(const Json& body, const char* name, std::vector<std::string>& into)
{
    const auto found = body.find(name);
    if (found != body.end()) {
        into = found->get<std::vector<std::string>>();
    }
}

}  // namespace

std::vector<Property> grant_fields()
{
    return {
        field("models", Kind::text, "Names or patterns of models; none: all that it could use.")
            .between(1, 200)
            .list(kMost),
        field("hosts", Kind::text,
              "Where it may go by the forward proxy; none: wherever it could go.")
            .between(1, 260)
            .checked(check_host)
            .list(kMost),
        field("routes", Kind::text,
              "Routes that it may use; none: those of inference, models and the forward proxy, or "
              "of its project.")
            .between(1, 64)
            .checked(check_route)
            .list(kMost)};
}

std::vector<Property> shown_grant_fields()
{
    auto fields = grant_fields();
    for (auto& one : fields) {
        one.required = true;
    }
    return fields;
}

void read_grants(const Json& body, storage::Grants& into)
{
    read_list(body, "models", into.models);
    read_list(body, "hosts", into.hosts);
    read_list(body, "routes", into.routes);
}

void put_grants(Json& into, const storage::Grants& grants)
{
    into["models"] = grants.models;
    into["hosts"] = grants.hosts;
    into["routes"] = grants.routes;
}

}  // namespace llmproxy::handlers::manage
