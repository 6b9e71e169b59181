#pragma once

#include "llmproxy/config/snapshot.hpp"
#include "llmproxy/edge/server.hpp"
#include "llmproxy/handlers/forward.hpp"
#include "llmproxy/net/resolver.hpp"

#include <memory>
#include <string>

namespace llmproxy::app {

/// What the forward proxy consists of, wired. Lifetime: the resolver and the metrics outlive it.
struct ForwardParts {
    ForwardParts(net::Resolver& resolver, telemetry::Metrics& metrics, const std::string& instance,
                 std::shared_ptr<const handlers::ForwardPolicies> policies);

    void add_to(edge::Routes& routes);

    upstream::Destinations destinations;
    handlers::ForwardProxy proxy;
    handlers::Connect connect;
    handlers::Forward forward;
    handlers::Stray stray;
};

/// What `from` means for the forward proxy. Fails with Errc::bad_request.
[[nodiscard]] core::Result<std::shared_ptr<const handlers::ForwardPolicies>>
make_forward_policies(const config::Snapshot& from,
                      std::shared_ptr<const pipeline::Policies> policies);

/// The addresses that the open listeners of `server` have.
[[nodiscard]] policy::OwnListeners own_listeners(const edge::Server& server);

}  // namespace llmproxy::app
