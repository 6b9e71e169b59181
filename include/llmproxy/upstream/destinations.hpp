#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/host.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"
#include "llmproxy/policy/destination_policy.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::upstream {

/// Where a client of the forward proxy wants to go.
class Destination {
public:
    Destination(core::Host the_host, std::uint16_t the_port, policy::DestinationUse the_use)
        : host(std::move(the_host)), port(the_port), use(the_use)
    {
    }

    core::Host host;
    std::uint16_t port;
    policy::DestinationUse use;
};

/// The answer to "may this client go there": the endpoints to dial, or why not.
/// Invariant: `endpoints` is empty if and only if `failure` holds one.
class Vetted {
public:
    Vetted() = default;
    [[nodiscard]] bool ok() const noexcept { return !endpoints.empty(); }

    std::vector<boost::asio::ip::tcp::endpoint>
        endpoints;  ///< all vetted, in the order to try them
    /// Which rule refused; `allowed` also when the name could not be resolved.
    policy::DestinationRule rule = policy::DestinationRule::allowed;
    core::Duration resolved{-1};   ///< the look-up took so long; negative: there was none
    core::Duration connected{-1};  ///< by `dial`: so long connecting
    /// Of the first refused address; none when no address was refused.
    std::optional<policy::AddressClass> address_class;
    /// Errc::destination_not_allowed: the message names the rule and nothing else, the detail (for
    /// the log) host, address and class as well. Otherwise a failure of net::Resolver.
    core::Failure failure;
};

/// Resolves a destination once, classifies each address and gives out only those that the policy
/// allows, so that what was vetted is what is dialled: no second look-up can turn the name elsewhere
/// (DNS rebinding).
///
/// Thread safety: `vet` and `dial` may be called from any strand, `listen_on` only before.
/// Lifetime: outlives its tasks; `resolver` outlives it.
class Destinations {
public:
    /// What the machine's interfaces have now; see net::local_addresses.
    using LocalAddresses = std::function<core::Result<std::vector<core::IpAddress>>()>;

    explicit Destinations(net::Resolver& resolver);
    Destinations(net::Resolver& resolver, LocalAddresses local);

    /// The addresses that this program listens on, which nobody may be sent to.
    void listen_on(policy::OwnListeners own);

    /// Decides about the host, resolves it, decides about each address. Ends with Errc::client_gone or Errc::cancelled
    /// when the watchdog ends its waits.
    /// \param token_hosts  of the client's token (auth::Principal::hosts); null: no list of its own.
    core::Task<Vetted> vet(std::shared_ptr<const policy::DestinationPolicy> policy,
                           Destination destination,
                           std::shared_ptr<const std::vector<core::HostPattern>> token_hosts,
                           core::Deadline deadline, net::Watchdog& watchdog);

    /// Vets, then connects to whichever vetted endpoint answers first (net::connect_tcp). A refusal
    /// or failure is in `vetted`, which the caller keeps until the task has ended.
    core::Task<core::Result<net::Stream>>
    dial(std::shared_ptr<const policy::DestinationPolicy> policy, Destination destination,
         std::shared_ptr<const std::vector<core::HostPattern>> token_hosts, core::Deadline deadline,
         net::Watchdog& watchdog, Vetted& vetted);

private:
    void sift(const policy::DestinationPolicy& policy, const Destination& destination,
              const net::Resolver::Endpoints& found, Vetted& vetted) const;

    net::Resolver& resolver_;
    LocalAddresses local_;
    policy::OwnListeners own_;
};

}  // namespace llmproxy::upstream
