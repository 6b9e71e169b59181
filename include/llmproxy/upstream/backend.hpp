#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/task_group.hpp"
#include "llmproxy/net/watchdog.hpp"
#include "llmproxy/policy/admission_gate.hpp"
#include "llmproxy/policy/backend_health.hpp"
#include "llmproxy/policy/backend_load.hpp"
#include "llmproxy/policy/circuit_breaker.hpp"
#include "llmproxy/policy/key_ring.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/upstream/settings.hpp"

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {
class Metrics;
}

namespace llmproxy::upstream {

class MockProvider;

/// Where a backend's requests go, taken apart.
struct BaseUrl {
    bool tls = false;
    std::string host;  ///< without brackets
    std::uint16_t port = 0;
    std::string authority;  ///< for the Host field: port only when it is not the scheme's
    std::string path;       ///< no slash at its end
};

/// Fails with Errc::internal when `url` is not `http(s)://host[:port][/path]`; configuration has checked it before.
[[nodiscard]] core::Result<BaseUrl> parse_base_url(std::string_view url);

/// A connection to a backend, between exchanges or in one.
struct Connection {
    explicit Connection(net::Stream the_stream) : stream(std::move(the_stream)) {}
    net::Stream stream;
    net::Buffer buffer;
    core::SteadyTime idle_since{};
    std::string origin;  ///< where it goes, in a pool of many origins
};

/// Where a leased connection goes back to. Thread safety: may be called concurrently.
class ConnectionPool {
public:
    virtual ~ConnectionPool() = default;
    /// Takes a connection that is between two exchanges.
    virtual void give_back(std::unique_ptr<Connection> connection) noexcept = 0;
};

/// How long the parts of getting a connection took. Negative: that part did not happen.
struct LeaseTimes {
    core::Duration queue{-1};  ///< for a place in the pool
    net::ConnectTimes connect;
};

/// A connection that is ours for one exchange. Destroyed without `keep`, it is closed.
class Lease {
public:
    Lease(std::shared_ptr<ConnectionPool> pool, std::unique_ptr<Connection> connection,
          policy::AdmissionGate::Permit permit, bool reused);
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) noexcept = default;
    ~Lease();

    [[nodiscard]] net::Stream& stream() noexcept { return connection_->stream; }
    [[nodiscard]] net::Buffer& buffer() noexcept { return connection_->buffer; }
    /// Whether the connection served an exchange before: then its death before any answer is retried for free.
    [[nodiscard]] bool reused() const noexcept { return reused_; }
    /// The exchange ended cleanly: the connection goes back to the pool. No operation may be outstanding.
    void keep() noexcept;

private:
    std::shared_ptr<ConnectionPool> pool_;
    std::unique_ptr<Connection> connection_;
    policy::AdmissionGate::Permit permit_;
    bool reused_;
};

/// What backends share: where connections are made, and where decisions get time and chance from.
struct Surroundings {
    boost::asio::io_context& context;
    net::Resolver& resolver;
    net::TaskGroup& tasks;
    telemetry::Metrics& metrics;
    const core::Clock& clock;
    policy::RandomSource& random;
};

/// One configured upstream with its pool of connections, and what is known of how it does: its circuit, its load, and
/// which of its keys rest.
///
/// Thread safety: every member may be called concurrently. Lifetime: shared; leases keep it alive, so a backend that a
/// reload dropped ends with its last exchange.
class Backend final : public ConnectionPool, public std::enable_shared_from_this<Backend> {
public:
    /// Reads certificates: for start-up and reload only. Fails with Errc::internal, detail for logs.
    static core::Result<std::shared_ptr<Backend>> make(BackendSettings settings,
                                                       const Settings& shared,
                                                       const policy::CircuitSettings& circuit,
                                                       Surroundings surroundings);
    ~Backend() override;

    [[nodiscard]] const BackendSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] const std::string& name() const noexcept { return settings_.name; }
    [[nodiscard]] const BaseUrl& url() const noexcept { return url_; }
    [[nodiscard]] const std::string& address() const noexcept { return address_; }
    [[nodiscard]] bool serves(std::string_view model) const noexcept;
    /// Which of `settings().api_keys` the next request uses, and which of them rest.
    [[nodiscard]] policy::KeyRing& keys() noexcept { return keys_; }
    /// The key of an index that `keys` gave; empty when none is configured.
    [[nodiscard]] const core::Secret& key(std::size_t index) const noexcept;
    /// What tells a key from others for as long as it is configured, wherever; does not give it away. 0: no key.
    [[nodiscard]] std::uint64_t key_id(std::size_t index) const noexcept;
    /// The index of the key with that id, if it is still configured.
    [[nodiscard]] std::optional<std::size_t> key_with(std::uint64_t id) const noexcept;
    [[nodiscard]] policy::CircuitBreaker& circuit() noexcept { return circuit_; }
    [[nodiscard]] const policy::CircuitBreaker& circuit() const noexcept { return circuit_; }
    /// What its checks have found, if it has any (HealthChecks).
    [[nodiscard]] policy::BackendHealth& health() const noexcept { return *health_; }
    [[nodiscard]] const std::shared_ptr<policy::BackendLoad>& load() const noexcept
    {
        return load_;
    }

    /// A pooled connection that is still alive, if that takes no waiting.
    [[nodiscard]] std::optional<Lease> lease_pooled();

    /// A pooled connection that is still alive, or a new one. Waits in the pool's queue at its cap.
    /// Ends when the watchdog ends its waits; whether it looks for a client that leaves is the caller's choice.
    /// \param fresh  make a new one even if pooled ones are there.
    /// \param total  the request's: cuts connecting short, then Errc::upstream_timeout.
    /// \param times  filled in as far as it comes; outlives the task.
    /// Fails with Errc::upstream_connect_failed, upstream_tls_failed, upstream_timeout, overloaded, client_gone,
    /// cancelled.
    core::Task<core::Result<Lease>> lease(bool fresh, core::Deadline queue_until,
                                          core::Deadline total, net::Watchdog& watchdog,
                                          LeaseTimes& times);

    /// A new connection beside the pool and its cap; the caller's alone, on the caller's strand.
    /// Fails like `net::connect`.
    core::Task<core::Result<net::Stream>> connect(core::Deadline deadline);

    /// Whether one made from these settings would be as this one is: then this one goes on over a reload, with
    /// its pool and what it has learned. Never with files, since what is in them may be new.
    [[nodiscard]] bool can_stay(const BackendSettings& settings, const Settings& shared) const;

    /// Takes over what `before`, which this one takes the place of, has learned: circuit and load if both go to the same
    /// place, its health if it is checked the same way, and in any case a circuit that an operator holds.
    /// Before the first request only.
    void learn_from(const Backend& before);

    /// Closes pooled connections that idled too long or that the other side has closed.
    void sweep(core::SteadyTime now);
    /// Closes every pooled connection.
    void close_idle() noexcept;

    /// Whether usage may be asked for in streams; turned off for good by a backend that refuses the field.
    [[nodiscard]] bool injects_usage() const noexcept
    {
        return inject_usage_.load(std::memory_order_relaxed);
    }
    void stop_injecting_usage() noexcept { inject_usage_.store(false, std::memory_order_relaxed); }

    [[nodiscard]] std::uint64_t connects() const noexcept { return connects_.load(); }
    [[nodiscard]] std::uint64_t reuses() const noexcept { return reuses_.load(); }
    [[nodiscard]] std::size_t idle() const;
    [[nodiscard]] std::size_t leased() const noexcept { return gate_.active(); }

    void give_back(std::unique_ptr<Connection> connection) noexcept override;

private:
    Backend(BackendSettings settings, const Settings& shared,
            const policy::CircuitSettings& circuit, Surroundings surroundings, BaseUrl url);

    std::unique_ptr<Connection> take_idle();
    core::Task<core::Result<net::Stream>> open(core::Deadline total, net::Watchdog& watchdog,
                                               net::ConnectTimes& took);
    core::Result<net::Stream> open_mock();

    BackendSettings settings_;
    Surroundings surroundings_;
    BaseUrl url_;
    std::string address_;
    std::shared_ptr<SSL_CTX> tls_;
    std::optional<net::EgressProxy> egress_;
    std::shared_ptr<MockProvider> mock_;
    core::Duration connect_timeout_;
    core::Duration idle_timeout_;
    std::size_t max_idle_;
    std::uint32_t max_connections_;
    policy::AdmissionGate gate_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Connection>> idle_;  // newest at the back
    policy::CircuitBreaker circuit_;
    std::shared_ptr<policy::BackendHealth> health_;
    std::shared_ptr<policy::BackendLoad> load_;
    policy::KeyRing keys_;
    std::vector<std::uint64_t> key_ids_;
    std::atomic<std::uint64_t> connects_{0};
    std::atomic<std::uint64_t> reuses_{0};
    std::atomic<bool> inject_usage_;
};

}  // namespace llmproxy::upstream
