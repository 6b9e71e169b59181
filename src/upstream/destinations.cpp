#include "llmproxy/upstream/destinations.hpp"

#include "llmproxy/net/cidr.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/net/guarded_connect.hpp"
#include "llmproxy/net/ip.hpp"

namespace llmproxy::upstream {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using policy::DestinationRule;

/// The message names the rule only: what exists behind a name is no business of a client refused.
Failure refusal(DestinationRule rule, const Destination& destination, const std::string& why)
{
    const std::string word(policy::to_text(rule));
    Failure failure(Errc::destination_not_allowed, Origin::client,
                    word + ": " + destination.host.to_string() + ":" +
                        std::to_string(destination.port) + why);
    failure.say("This destination is not allowed (" + word + ").");
    return failure;
}

}  // namespace

Destinations::Destinations(net::Resolver& resolver)
    : Destinations(resolver, [] { return net::local_addresses(); })
{
}

Destinations::Destinations(net::Resolver& resolver, LocalAddresses local)
    : resolver_(resolver), local_(std::move(local))
{
}

void Destinations::listen_on(policy::OwnListeners own)
{
    own_ = std::move(own);
}

void Destinations::sift(const policy::DestinationPolicy& policy, const Destination& destination,
                        const net::Resolver::Endpoints& found, Vetted& vetted) const
{
    std::vector<core::IpAddress> local;
    if (own_.has_port(destination.port)) {
        auto known = local_();
        if (!known) {
            vetted.failure = known.error();
            return;
        }
        local = std::move(*known);
    }
    std::string refused;
    for (const auto& endpoint : found) {
        const auto address = net::to_core(endpoint.address());
        const auto verdict = policy.check_address(address, destination.port, own_, local);
        if (verdict.rule == DestinationRule::allowed) {
            // An unmapped address replaces a mapped one; a zone is kept.
            vetted.endpoints.emplace_back(net::normalise(endpoint.address()), endpoint.port());
            continue;
        }
        if (!vetted.address_class) {
            vetted.address_class = verdict.address_class;
            vetted.rule = verdict.rule;
        }
        refused += " " + address.to_string() + " (" +
                   std::string(policy::to_text(verdict.address_class)) + ")";
    }
    if (!vetted.endpoints.empty()) {
        vetted.rule = DestinationRule::allowed;
    } else {
        vetted.failure = refusal(vetted.rule, destination, " is" + refused);
    }
}

core::Task<Vetted>
Destinations::vet(std::shared_ptr<const policy::DestinationPolicy> policy, Destination destination,
                  std::shared_ptr<const std::vector<core::HostPattern>> token_hosts,
                  core::Deadline deadline, net::Watchdog& watchdog)
{
    Vetted vetted;
    vetted.rule =
        policy->check_host(destination.host, destination.port, destination.use, token_hosts.get());
    if (vetted.rule != DestinationRule::allowed) {
        vetted.failure = refusal(vetted.rule, destination, "");
        co_return vetted;
    }
    const auto began = std::chrono::steady_clock::now();
    auto found = co_await net::resolve_while_wanted(resolver_, destination.host.to_lookup(),
                                                    destination.port, deadline, watchdog);
    vetted.resolved = std::chrono::steady_clock::now() - began;
    if (!found) {
        vetted.failure = found.error();
        co_return vetted;
    }
    sift(*policy, destination, *found, vetted);
    co_return vetted;
}

core::Task<core::Result<net::Stream>>
Destinations::dial(std::shared_ptr<const policy::DestinationPolicy> policy, Destination destination,
                   std::shared_ptr<const std::vector<core::HostPattern>> token_hosts,
                   core::Deadline deadline, net::Watchdog& watchdog, Vetted& vetted)
{
    vetted = co_await vet(std::move(policy), std::move(destination), std::move(token_hosts),
                          deadline, watchdog);
    if (!vetted.ok()) {
        co_return vetted.failure;
    }
    auto endpoints = vetted.endpoints;
    const auto began = std::chrono::steady_clock::now();
    auto stream = co_await net::connect_tcp(std::move(endpoints), deadline, watchdog);
    vetted.connected = std::chrono::steady_clock::now() - began;
    co_return stream;
}

}  // namespace llmproxy::upstream
