#include "llmproxy/core/text.hpp"
#include "llmproxy/openai/resource_ids.hpp"
#include "request_context.hpp"

#include <array>

namespace llmproxy::pipeline {
namespace {

constexpr std::size_t kMaxLookedAt = std::size_t{64} * 1024;

/// Whether there is more than one backend and key to choose from.
bool has_choice(const upstream::Backends& backends) noexcept
{
    const auto& all = backends.all();
    return all.size() > 1 || (all.size() == 1 && all.front()->keys().size() > 1);
}

core::Failure no_such_resource(const char* detail)
{
    return core::Failure(core::Errc::not_found, core::Origin::client, detail)
        .say("No such resource.");
}

/// Takes the first of the ids of which is known who holds it.
/// Fails with Errc::not_found when one is another project's, whose key may be the same.
core::Task<core::Result<bool>> settle(RequestContext& context, std::vector<std::string_view> ids)
{
    for (const auto id : ids) {
        const auto home = co_await context.resources->find(std::string(id));
        if (home && home->project != project_of(context)) {
            co_return no_such_resource("a resource of another project");
        }
        context.names_unknown = context.names_unknown || !home;
        if (context.home) {
            continue;
        }
        auto backend = home ? context.policies->backends->by_name(home->backend) : nullptr;
        if (backend) {
            context.home_key = home->key == 0 ? std::nullopt : backend->key_with(home->key);
            context.home = std::move(backend);
            context.home_of = id;
        }
    }
    co_return context.home != nullptr;
}

bool has_json_body(const http::RequestHead& head)
{
    const auto type = head.fields.get(http::FieldName::content_type);
    return !has_no_body(head) && !head.fields.has(http::FieldName::content_encoding) &&
           core::iequals(core::trim(type.substr(0, type.find(';'))), "application/json");
}

}  // namespace

core::Result<void> check_tenant(const RequestContext& context)
{
    const bool shared = context.account->stored() && !context.own_keys;
    if (shared && context.names_unknown) {
        return no_such_resource("not known as the project's, whose key is shared");
    }
    return {};
}

bool may_have_home(RequestContext& context)
{
    const auto path = context.target.path;
    if (context.body_is_held) {
        context.tells_ids = openai::is_stored(context.route, context.body);
    } else if (openai::is_resource_path(path)) {
        context.tells_ids = openai::tells_ids(context.exchange.head().method, path);
    } else {
        return false;
    }
    const bool matters = has_choice(*context.policies->backends) || context.account->stored();
    // What is not known of a project's may be another's.
    return matters && (!context.resources->empty() || context.account->stored());
}

core::Task<core::Result<void>> find_home(RequestContext& context)
{
    auto ids = openai::ids_in_path(context.target.path);
    const auto by_path = co_await settle(context, std::move(ids));
    if (!by_path) {
        co_return by_path.error();
    }
    const bool by_body = context.body_is_held || has_json_body(context.exchange.head());
    if (*by_path || !by_body) {
        co_return core::Result<void>();
    }
    for (bool more = !context.body_is_held; more;) {
        const auto read = co_await read_ahead(context, kMaxLookedAt);
        if (!read) {
            co_return read.error();
        }
        more = *read;
    }
    auto named = openai::ids_in_body(context.route, context.body);
    const auto by_name = co_await settle(context, std::move(named));
    co_return by_name ? core::Result<void>() : core::Result<void>(by_name.error());
}

}  // namespace llmproxy::pipeline
