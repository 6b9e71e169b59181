#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::net {

/// What one look-up of a name gave: addresses in the order to try them, or an error.
struct LookupResult {
    std::vector<boost::asio::ip::address> addresses;
    boost::system::error_code error;
    std::string reason;  ///< for logs
};

/// Blocks until it knows the addresses of a name. Called on the resolver's own threads, several at
/// once.
using Lookup = std::function<LookupResult(const std::string& name)>;

/// The system's resolver (getaddrinfo: hosts file, DNS), families as this machine has addresses
/// for.
[[nodiscard]] LookupResult system_lookup(const std::string& name);

struct ResolverOptions {
    std::size_t threads = 4;  ///< look-ups under way at once
    core::Duration positive_ttl = std::chrono::seconds(30);
    core::Duration negative_ttl = std::chrono::seconds(1);
    std::size_t max_names = 4096;  ///< known, under way and queued together
    core::Duration shutdown_grace = std::chrono::seconds(2);
    /// Told of each look-up how long it took, on the resolver's own threads. May be empty.
    std::function<void(core::Duration took)> observer;
};

/// Turns names into addresses without ever blocking the caller's thread.
///
/// Names are looked up once however many wait for them, by a few threads of its own, and remembered
/// for a while. A wait can be given up (deadline, cancellation) although the look-up itself cannot;
/// a queued look-up nobody waits for any more is skipped. Thread safety: `resolve` may be called
/// from any strand; it must be a strand (or a single-threaded context). Lifetime: destroyed before
/// the io_context whose coroutines wait in it; those waits then end with Errc::cancelled. The
/// destructor waits for look-ups under way, but at most `shutdown_grace`: a thread hung in the
/// system's resolver after that is left behind and touches only state that it shares in owning.
class Resolver {
public:
    using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

    explicit Resolver(ResolverOptions options = {}, Lookup lookup = &system_lookup,
                      std::shared_ptr<const core::Clock> clock = nullptr);
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    ~Resolver();

    /// What `resolve` would answer without a wait: for an address literal, a name that is remembered, and what is no
    /// name at all; otherwise nothing.
    [[nodiscard]] std::optional<core::Result<Endpoints>> known(const std::string& host,
                                                               std::uint16_t port) const;

    /// The endpoints of `host`; address literals (also `[v6]`) are answered at once, with no
    /// thread.
    ///
    /// Fails with Errc::upstream_connect_failed (no such name, resolver busy with `max_names`
    /// others), Errc::upstream_timeout (deadline) or Errc::cancelled.
    core::Task<core::Result<Endpoints>> resolve(std::string host, std::uint16_t port,
                                                core::Deadline deadline);

private:
    class State;
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::net
