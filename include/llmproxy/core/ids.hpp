#pragma once

#include "llmproxy/core/clock.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// A project and a token of the store. Never given twice, also after a deletion.
enum class ProjectId : std::int64_t { none = 0 };
enum class TokenId : std::int64_t { none = 0 };

/// A UUID (RFC 9562) as its 16 bytes in network order, so that those of version 7 sort by their
/// time.
struct Uuid {
    std::array<std::uint8_t, 16> bytes{};

    friend constexpr auto operator<=>(const Uuid&, const Uuid&) noexcept = default;
};

/// A new UUID version 7 (RFC 9562, section 5.7). May be called from any thread.
[[nodiscard]] Uuid make_uuid7(SystemTime now);

/// The time that a UUID version 7 tells, to the millisecond.
[[nodiscard]] SystemTime time_of(const Uuid& id) noexcept;

/// The smallest UUID version 7 of a millisecond and later: the lower bound of a range of time.
[[nodiscard]] Uuid first_uuid7(SystemTime from) noexcept;

/// The 36-character form, in lower case.
[[nodiscard]] std::string to_text(const Uuid& id);

/// Reads the 36-character form, in either case; nothing for any other text.
[[nodiscard]] std::optional<Uuid> parse_uuid(std::string_view text) noexcept;

/// A new UUID version 7 in its 36-character form. May be called from any thread.
[[nodiscard]] std::string make_request_id(SystemTime now);

/// Whether a received X-Request-Id may be kept: 1 to 128 characters of `[A-Za-z0-9._-]`.
[[nodiscard]] bool is_sane_request_id(std::string_view id) noexcept;

/// Fills `out`, which is not empty, with random bytes, not all of them zero. May be called from any thread.
void fill_random(std::span<std::uint8_t> out);

/// `bytes` random bytes as lower-case hex, from the operating system.
[[nodiscard]] std::string random_hex(std::size_t bytes);

}  // namespace llmproxy::core
