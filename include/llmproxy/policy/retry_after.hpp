#pragma once

#include "llmproxy/core/clock.hpp"

#include <optional>
#include <string_view>

namespace llmproxy::policy {

/// Values of a reply's header fields that say when to come back; empty: not there.
struct RetryHeaders {
    std::string_view retry_after_ms;      ///< `retry-after-ms`
    std::string_view retry_after;         ///< `Retry-After`
    std::string_view reset;               ///< `x-ratelimit-reset`
    std::string_view reset_requests;      ///< `x-ratelimit-reset-requests`
    std::string_view reset_tokens;        ///< `x-ratelimit-reset-tokens`
    std::string_view remaining_requests;  ///< `x-ratelimit-remaining-requests`
    std::string_view remaining_tokens;    ///< `x-ratelimit-remaining-tokens`
};

/// No hint is longer than this: whoever says more is taken to mean this.
inline constexpr core::Duration kLongestHint = std::chrono::hours(24);

/// An HTTP date in any of the three forms of RFC 9110, section 5.6.7; none if it is not one.
/// \param now  decides the century of the obsolete form with two digits: at most 50 years ahead.
[[nodiscard]] std::optional<core::SystemTime> parse_http_date(std::string_view text,
                                                              core::SystemTime now) noexcept;

/// `6m0s`, `1.5s`, `20ms`, `1h2m3.5s`; a bare number is seconds. None if it is not one or negative; longer ones are
/// cut to kLongestHint.
[[nodiscard]] std::optional<core::Duration> parse_reset_duration(std::string_view text) noexcept;

/// When the reply says to come back: `retry-after-ms`, else `Retry-After` (seconds, whole or not, or a date), else, for
/// a rate limit, `x-ratelimit-reset-*`: the longest of those whose limit is used up, or the shortest if none says that
/// it is. `x-ratelimit-reset` may also be a time (seconds or milliseconds since 1970).
/// Never negative, at most kLongestHint. A value that cannot be read counts as absent.
/// \param rate_limited  whether the reply is a rate limit; others carry the fields too, without that meaning.
[[nodiscard]] std::optional<core::Duration>
retry_after_hint(const RetryHeaders& headers, bool rate_limited, core::SystemTime now) noexcept;

}  // namespace llmproxy::policy
