#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/policy/settings.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>

namespace llmproxy::policy {

enum class HealthState : std::uint8_t {
    unknown,  ///< not checked, or not yet sure: used like a healthy one
    healthy,
    unhealthy
};

/// What one check came to.
enum class CheckResult : std::uint8_t {
    passed,          ///< a status from 200 to 299
    refused,         ///< another status
    connect_failed,  ///< DNS or TCP
    tls_failed,
    timeout,
    bad_reply  ///< reset, end, or something that is not HTTP
};

[[nodiscard]] std::string_view to_string(HealthState state) noexcept;
[[nodiscard]] std::string_view to_string(CheckResult result) noexcept;

/// Whether a backend is well, by the checks that are made of it: `unhealthy_threshold` failures in a row make it unhealthy,
/// `healthy_threshold` successes in a row healthy again. Of one that was never found unhealthy the first success is enough.
///
/// Who chooses a backend decides what an unhealthy one still gets: the last one that there is gets everything.
/// Thread safety: every member may be called concurrently; `is_unhealthy` takes no lock. Lifetime: `clock` must outlive it.
class BackendHealth {
public:
    struct Change {
        HealthState from = HealthState::unknown;
        HealthState to = HealthState::unknown;
        core::Duration lasted{0};  ///< how long it was in the state `from`
    };

    /// For operators: `/readyz`, logs, management.
    struct Report {
        HealthState state = HealthState::unknown;
        core::Duration lasts{0};          ///< how long it has been in that state
        std::optional<CheckResult> last;  ///< none before the first check
        unsigned status = 0;              ///< of CheckResult::passed and refused
    };

    BackendHealth(HealthCheckSettings settings, const core::Clock& clock);

    [[nodiscard]] bool is_checked() const noexcept { return !settings_.path.empty(); }
    [[nodiscard]] const HealthCheckSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] bool is_unhealthy() const noexcept
    {
        return state_.load(std::memory_order_relaxed) == HealthState::unhealthy;
    }

    /// A check has ended; says if that changed the state.
    std::optional<Change> checked(CheckResult result, unsigned status = 0);
    /// How long to wait before the next check: the interval, a tenth more or less, so that many proxies do not ask at once.
    [[nodiscard]] core::Duration pause(RandomSource& random) const;

    [[nodiscard]] Report report() const;

private:
    const HealthCheckSettings settings_;
    const core::Clock& clock_;
    std::atomic<HealthState> state_{HealthState::unknown};
    mutable std::mutex mutex_;  // for what follows, and for writing state_
    core::SteadyTime since_;
    std::uint32_t run_ = 0;  // checks in a row that speak against the state
    std::optional<CheckResult> last_;
    unsigned status_ = 0;
};

}  // namespace llmproxy::policy
