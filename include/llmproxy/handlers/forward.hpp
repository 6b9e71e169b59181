#pragma once

#include "llmproxy/edge/handler.hpp"
#include "llmproxy/handlers/settings.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/policy/destination_policy.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/upstream/destinations.hpp"
#include "llmproxy/upstream/origin_pool.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace llmproxy::handlers {

class ForwardAccount;

/// What one configuration means for the forward proxy. Immutable; a request keeps the one it began with.
struct ForwardPolicies {
    ForwardSettings settings;
    core::Duration connect_timeout{0};  ///< look-up and connection together
    std::shared_ptr<const policy::DestinationPolicy> destinations;
    std::shared_ptr<const pipeline::Policies> pipeline;  ///< authenticator and time limits
};

/// What the handlers of the forward proxy share.
/// Thread safety: every member may be called concurrently. Lifetime: outlives the handlers; the references outlive it.
class ForwardProxy {
public:
    /// \param instance  this process's name in Via fields, the same as the gateway's.
    ForwardProxy(upstream::Destinations& destinations, telemetry::Metrics& metrics,
                 std::string_view instance, std::shared_ptr<const ForwardPolicies> policies);

    /// New requests follow `policies`; tunnels stay as they are.
    void replace(std::shared_ptr<const ForwardPolicies> policies);
    [[nodiscard]] std::shared_ptr<const ForwardPolicies> policies() const;

    [[nodiscard]] upstream::Destinations& destinations() noexcept { return destinations_; }
    [[nodiscard]] upstream::OriginPool& pool() noexcept { return *pool_; }
    /// This process in Via fields (RFC 9110, section 7.6.3).
    [[nodiscard]] const std::string& via_name() const noexcept { return via_name_; }

    /// Whether the request may pass at all: no loop, and a token of ours that is granted the route, within its limits.
    /// Fails with Errc::loop_detected, Errc::proxy_auth_required, Errc::route_not_allowed, Errc::rate_limit_exceeded.
    /// \param fields  gets the lines of a refusal.
    core::Task<core::Result<std::shared_ptr<ForwardAccount>>> admit(http::Exchange& exchange,
                                                                    const ForwardPolicies& policies,
                                                                    bool tunnel,
                                                                    std::string& fields) const;
    /// What a failed attempt to reach a destination is for the client; logs and counts refusals.
    [[nodiscard]] core::Failure explain(const http::Exchange& exchange, core::Failure failure,
                                        const upstream::Vetted& vetted);
    /// Answers a failure, with the challenge where it is one.
    /// \param fields  further lines; must outlive the call.
    core::Task<void> refuse(http::Exchange& exchange, core::Failure failure,
                            std::string_view fields = {});

private:
    upstream::Destinations& destinations_;
    telemetry::Metrics& metrics_;
    std::string via_name_;
    std::shared_ptr<upstream::OriginPool> pool_;
    mutable std::mutex mutex_;
    std::shared_ptr<const ForwardPolicies> policies_;
};

/// `CONNECT host:port` (RFC 9110, section 9.3.6): the connection becomes a tunnel once the destination is connected.
/// Any other answer closes it: bytes sent in the hope of a tunnel are never taken for a request.
class Connect final : public edge::Handler {
public:
    explicit Connect(ForwardProxy& proxy) : proxy_(proxy) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    core::Task<core::Result<void>> open(http::Exchange& exchange, std::string& fields);
    ForwardProxy& proxy_;
};

/// Absolute-form requests, `GET http://host/...` (RFC 9112, section 3.2.2).
class Forward final : public edge::Handler {
public:
    explicit Forward(ForwardProxy& proxy) : proxy_(proxy) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    core::Task<core::Result<void>> pass_on(http::Exchange& exchange, std::string& fields);
    ForwardProxy& proxy_;
};

/// What comes to a forward listener in origin-form and nobody else serves: 508 if it is our own request come back,
/// else 404.
class Stray final : public edge::Handler {
public:
    explicit Stray(ForwardProxy& proxy) : proxy_(proxy) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    ForwardProxy& proxy_;
};

}  // namespace llmproxy::handlers
