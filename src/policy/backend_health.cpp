#include "llmproxy/policy/backend_health.hpp"

#include <cmath>
#include <utility>

namespace llmproxy::policy {

BackendHealth::BackendHealth(HealthCheckSettings settings, const core::Clock& clock)
    : settings_(std::move(settings)), clock_(clock), since_(clock.now())
{
}

std::optional<BackendHealth::Change> BackendHealth::checked(CheckResult result, unsigned status)
{
    const std::lock_guard lock(mutex_);
    last_ = result;
    status_ = status;
    const auto before = state_.load();
    const bool passed = result == CheckResult::passed;
    const auto told = passed ? HealthState::healthy : HealthState::unhealthy;
    if (told == before) {
        run_ = 0;
        return std::nullopt;
    }
    const bool first = before == HealthState::unknown && passed;
    const auto needed = first    ? 1U
                        : passed ? settings_.healthy_threshold
                                 : settings_.unhealthy_threshold;
    if (++run_ < needed) {
        return std::nullopt;
    }
    const auto now = clock_.now();
    const Change change{before, told, now - since_};
    state_ = told;
    since_ = now;
    run_ = 0;
    return change;
}

core::Duration BackendHealth::pause(RandomSource& random) const
{
    constexpr double kSpread = 0.1;
    const auto factor = 1.0 - kSpread + 2.0 * kSpread * random.unit();
    return core::Duration(std::llround(static_cast<double>(settings_.interval.count()) * factor));
}

BackendHealth::Report BackendHealth::report() const
{
    const std::lock_guard lock(mutex_);
    return {state_.load(), clock_.now() - since_, last_, status_};
}

std::string_view to_string(HealthState state) noexcept
{
    switch (state) {
    case HealthState::healthy: return "healthy";
    case HealthState::unhealthy: return "unhealthy";
    case HealthState::unknown: break;
    }
    return "unknown";
}

std::string_view to_string(CheckResult result) noexcept
{
    switch (result) {
    case CheckResult::passed: return "passed";
    case CheckResult::refused: return "refused";
    case CheckResult::connect_failed: return "connect_failed";
    case CheckResult::tls_failed: return "tls_failed";
    case CheckResult::timeout: return "timeout";
    case CheckResult::bad_reply: break;
    }
    return "bad_reply";
}

}  // namespace llmproxy::policy
