#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/policy/settings.hpp"

#include <cstdint>

namespace llmproxy::policy {

/// How long to wait before a retry: `min(initial * multiplier^(n-1), max)`, spread by jitter, at most `max` again.
///
/// \param retry  counts from 1; 0 is taken as 1.
/// Never negative. 0 when backoff is off.
[[nodiscard]] core::Duration backoff_delay(const BackoffSettings& settings, std::uint32_t retry,
                                           RandomSource& random) noexcept;

}  // namespace llmproxy::policy
