#include "management.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::app {

namespace asio = boost::asio;

Management::Management(handlers::ManageParts parts, std::function<handlers::ReloadReport()> reload,
                       const handlers::ManagementSettings& settings)
    : reload_(std::move(reload)), handler_(complete(std::move(parts)), settings)
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

void Management::stop()
{
    aside_.join();
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

}  // namespace llmproxy::app
