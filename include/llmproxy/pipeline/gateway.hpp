#pragma once

#include "llmproxy/accounts/provider_keys.hpp"
#include "llmproxy/auth/authenticator.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/pipeline/resources.hpp"
#include "llmproxy/pipeline/settings.hpp"
#include "llmproxy/policy/adaptive_timeout.hpp"
#include "llmproxy/policy/admission_gate.hpp"
#include "llmproxy/policy/byte_budget.hpp"
#include "llmproxy/policy/retry_budget.hpp"
#include "llmproxy/policy/settings.hpp"
#include "llmproxy/upstream/backends.hpp"

#include <memory>
#include <mutex>
#include <string>

namespace llmproxy::pipeline {

class ModelList;
struct RequestContext;

/// What one configuration means for requests. Immutable; a request keeps the one it began with.
struct Policies {
    Settings settings;
    policy::Settings rules;
    std::shared_ptr<const auth::Authenticator> authenticator;
    accounts::Accounts* accounts = nullptr;           ///< where usage is recorded; null: nowhere
    accounts::ProviderKeys* provider_keys = nullptr;  ///< of projects; null: they have none
    std::shared_ptr<const upstream::Backends> backends;
    std::shared_ptr<ModelList> models;
};

/// The OpenAI-compatible gateway: takes a request through its phases (docs/life-of-a-request.md).
///
/// Thread safety: every member may be called concurrently; a request runs on its session's strand.
/// Lifetime: outlives every exchange it serves.
class Gateway {
public:
    /// \param instance   this process's name in Via fields (RFC 9110, section 7.6.3), unique per process.
    /// \param resources  who remembers where files and the like are; none: the gateway itself, in memory.
    Gateway(std::shared_ptr<const Policies> policies, std::string instance,
            std::shared_ptr<Resources> resources = nullptr);
    ~Gateway();

    /// Answers one request below `/v1`. Whatever happens, the exchange's record says it afterwards.
    core::Task<void> serve(http::Exchange& exchange);

    /// New requests follow `policies`; those under way end with what they began with.
    void replace(std::shared_ptr<const Policies> policies);
    [[nodiscard]] std::shared_ptr<const Policies> policies() const;

    /// For operators: holds the circuit of a backend open or closed, or lets it work by itself again. Takes effect at once,
    /// also for retries under way. Fails with Errc::not_found if there is no backend of that name.
    [[nodiscard]] core::Result<void> order_circuit(std::string_view backend,
                                                   policy::CircuitOrder order);

    /// For readyz and metrics.
    [[nodiscard]] std::uint32_t active() const noexcept { return admission_.active(); }
    [[nodiscard]] std::uint32_t queued() const noexcept { return admission_.queued(); }

private:
    core::Task<core::Result<void>> take_through_phases(RequestContext& context);
    core::Task<core::Result<policy::AdmissionGate::Permit>> wait_in_queue(RequestContext& context);

    mutable std::mutex mutex_;
    std::shared_ptr<const Policies> policies_;
    std::string via_name_;  // this process in Via fields
    policy::AdmissionGate admission_;
    policy::ByteBudget buffered_;
    policy::RetryBudget retries_;
    policy::AdaptiveTimeout head_times_;
    RecentResources recent_;
    std::shared_ptr<Resources> resources_;  // or `recent_`, if there are none
};

}  // namespace llmproxy::pipeline
