#pragma once

#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/key_vault.hpp"
#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/edge/handler.hpp"
#include "llmproxy/handlers/settings.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/storage/store.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/telemetry/recent_requests.hpp"
#include "llmproxy/upstream/backends.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy::handlers {

struct ForwardPolicies;

namespace manage {
class Gatekeeper;
}

/// What became of a reload.
struct ReloadReport {
    std::vector<std::string> problems;       ///< none: the new configuration is in force
    std::vector<std::string> warnings;       ///< about the configuration
    std::vector<std::string> needs_restart;  ///< changed keys that wait for the next start
};

/// What the management API needs of the rest of the program. Everything may be called from any
/// thread.
struct ManageParts {
    std::shared_ptr<storage::Store> store;  ///< null: none is configured
    std::string store_path;                 ///< of its file
    /// Seals provider keys; null: no `store.encryption_key`.
    std::shared_ptr<const accounts::KeyVault> vault;
    /// Told after a project, a token, or their keys, limits or budgets were changed, so that it
    /// counts from the next request on; may be empty.
    std::function<void(storage::Subject)> changed;
    /// Told after one was revoked, disabled, deleted or expired by a change: what it has under way
    /// ends too; may be empty.
    std::function<void(storage::Subject)> ended;
    std::shared_ptr<const core::Clock> clock;
    /// Where a subject's budgets stand, what is reserved included; may be empty.
    std::function<core::Task<core::Result<std::vector<accounts::Budget::State>>>(storage::Subject)>
        budget_of;
    std::function<std::shared_ptr<const upstream::Backends>()> backends;  ///< those in force
    std::function<std::shared_ptr<const pipeline::Policies>()> policies;  ///< of the gateway
    std::function<std::shared_ptr<const ForwardPolicies>()> forward;
    const telemetry::Metrics* metrics = nullptr;  ///< never null
    std::function<core::Task<ReloadReport>()> reload;
    const telemetry::RecentRequests* recent = nullptr;  ///< never null
    const std::atomic<bool>* draining = nullptr;        ///< never null; true: what lasts has to end
};

/// `/manage/`: the management API, described by its own `/manage/openapi.json` and by
/// docs/management-api.md.
///
/// Thread safety: every member may be called concurrently. Lifetime: outlives its requests; the
/// parts outlive it.
class Manage final : public edge::Handler {
public:
    Manage(ManageParts parts, const ManagementSettings& settings);
    ~Manage() override;

    core::Task<void> handle(http::Exchange& exchange) override;

    /// Requests from now on show one of these tokens.
    void replace(const ManagementSettings& settings);

private:
    ManageParts parts_;
    std::unique_ptr<manage::Gatekeeper> gatekeeper_;
};

}  // namespace llmproxy::handlers
