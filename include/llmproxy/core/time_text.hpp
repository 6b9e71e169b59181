#pragma once

#include "llmproxy/core/clock.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// Writes `time` as RFC 3339 with milliseconds in UTC: `2026-01-31T12:34:56.789Z`, kTimeSize characters. The second is
/// formatted once per thread. Returns the end.
inline constexpr std::size_t kTimeSize = 24;
[[nodiscard]] char* put_time(char* at, SystemTime time) noexcept;

/// Appends it.
void append_time(std::string& out, SystemTime time);

/// The same as a text of its own.
[[nodiscard]] std::string to_text(SystemTime time);

/// Reads a date and time of RFC 3339 with any offset, or a date alone (its first moment in UTC).
/// Digits past nanoseconds are dropped. None for anything else, for days that no calendar has, for
/// leap seconds, and for years before 1970 or after 2261.
[[nodiscard]] std::optional<SystemTime> parse_time(std::string_view text) noexcept;

}  // namespace llmproxy::core
