#include "management.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::app {

namespace asio = boost::asio;

Management::Management(handlers::ManageParts parts, std::function<handlers::ReloadReport()> reload,
                       asio::any_io_executor aside, const handlers::ManagementSettings& settings)
    : store_(parts.store), reload_(std::move(reload)), aside_(std::move(aside)),
      handler_(complete(std::move(parts)), settings)
{
}

handlers::ManageParts Management::complete(handlers::ManageParts parts)
{
    parts.reload = [this] { return reload_aside(); };
    return parts;
}

void Management::add_to(edge::Routes& routes)
{
    for (const auto* path : {"/manage", "/manage/"}) {
        routes.add(edge::Role::admin, path, handler_);
    }
}

core::Task<void> Management::greet(std::string url)
{
    if (!store_) {
        co_return;
    }
    auto projects = co_await store_->projects(storage::PageRequest(1));
    if (!projects || !projects->rows.empty()) {
        co_return;
    }
    const auto where = url.empty() ? std::string() : " --url " + url;
    telemetry::log("app").info(
        {}, "there is no project yet: clients have no token to show",
        {{"needs", url.empty() ? "a listener that serves admin, and management.token"
                               : "LLM_PROXY_MANAGEMENT_TOKEN"},
         {"project", "llm-proxy project create my-team" + where},
         {"token", "llm-proxy token create --project my-team my-app" + where}});
}

core::Task<handlers::ReloadReport> Management::reload_aside()
{
    auto work = reload_here();
    co_return co_await asio::co_spawn(aside_, std::move(work), asio::use_awaitable);
}

core::Task<handlers::ReloadReport> Management::reload_here()
{
    co_return reload_();
}

std::string management_url(const edge::Server& server, const edge::Settings& settings)
{
    for (const auto& listener : settings.listeners) {
        if (!listener.serves(edge::Role::admin)) {
            continue;
        }
        const auto host = listener.address.substr(0, listener.address.rfind(':'));
        const bool any = host == "0.0.0.0" || host == "[::]" || host.empty();
        return (listener.tls ? "https://" : "http://") + (any ? "127.0.0.1" : host) + ":" +
               std::to_string(server.port(listener.name));
    }
    return {};
}

}  // namespace llmproxy::app
