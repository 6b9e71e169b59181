#include "llmproxy/policy/backoff.hpp"

#include <algorithm>
#include <cmath>

namespace llmproxy::policy {

core::Duration backoff_delay(const BackoffSettings& settings, std::uint32_t retry,
                             RandomSource& random) noexcept
{
    if (!settings.enabled) {
        return core::Duration(0);
    }
    const auto longest = std::max(0.0, static_cast<double>(settings.max_delay.count()));
    const auto exponent = static_cast<double>(std::max(retry, 1U) - 1);
    // The power may be infinite; `min` then gives the longest delay.
    const auto grown = static_cast<double>(settings.initial_delay.count()) *
                       std::pow(settings.multiplier, exponent);
    const auto delay = std::isnan(grown) ? longest : std::clamp(grown, 0.0, longest);
    const auto chance = random.unit();
    const auto factor = settings.mode == JitterMode::full
                            ? chance
                            : 1.0 - settings.jitter + 2.0 * settings.jitter * chance;
    return core::Duration(std::llround(std::clamp(delay * factor, 0.0, longest)));
}

}  // namespace llmproxy::policy
