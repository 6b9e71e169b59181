#include "forward_parts.hpp"

#include "llmproxy/net/ip.hpp"

namespace llmproxy::app {

ForwardParts::ForwardParts(net::Resolver& resolver, telemetry::Metrics& metrics,
                           const std::string& instance,
                           std::shared_ptr<const handlers::ForwardPolicies> policies)
    : destinations(resolver), proxy(destinations, metrics, instance, std::move(policies)),
      connect(proxy), forward(proxy), stray(proxy)
{
}

void ForwardParts::add_to(edge::Routes& routes)
{
    routes.add(edge::Role::forward, http::TargetForm::authority, connect);
    routes.add(edge::Role::forward, http::TargetForm::absolute, forward);
    routes.add(edge::Role::forward, "/", stray);
}

core::Result<std::shared_ptr<const handlers::ForwardPolicies>>
make_forward_policies(const config::Snapshot& from,
                      std::shared_ptr<const pipeline::Policies> policies)
{
    auto destinations = policy::DestinationPolicy::make(from.forward.destinations);
    if (!destinations) {
        return destinations.error();
    }
    auto made = std::make_shared<handlers::ForwardPolicies>();
    made->settings = from.forward;
    made->connect_timeout = from.upstream.connect_timeout;
    made->destinations =
        std::make_shared<const policy::DestinationPolicy>(std::move(*destinations));
    made->pipeline = std::move(policies);
    return std::shared_ptr<const handlers::ForwardPolicies>(std::move(made));
}

policy::OwnListeners own_listeners(const edge::Server& server)
{
    std::vector<policy::OwnListeners::Entry> entries;
    for (const auto& endpoint : server.endpoints()) {
        policy::OwnListeners::Entry entry;
        entry.address = net::to_core(endpoint.address());
        entry.port = endpoint.port();
        entries.push_back(entry);
    }
    return policy::OwnListeners(std::move(entries));
}

}  // namespace llmproxy::app
