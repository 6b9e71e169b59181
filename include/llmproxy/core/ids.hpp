#pragma once

#include "llmproxy/core/clock.hpp"

#include <string>
#include <string_view>

namespace llmproxy::core {

/// A new UUID version 7 (RFC 9562, section 5.7) in its 36-character form. May be called from any thread.
[[nodiscard]] std::string make_request_id(SystemTime now);

/// Whether a received X-Request-Id may be kept: 1 to 128 characters of `[A-Za-z0-9._-]`.
[[nodiscard]] bool is_sane_request_id(std::string_view id) noexcept;

/// `bytes` random bytes as lower-case hex, from the operating system.
[[nodiscard]] std::string random_hex(std::size_t bytes);

}  // namespace llmproxy::core
