#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace llmproxy::core {

/// A SHA-256 digest (FIPS 180-4).
using Sha256 = std::array<std::uint8_t, 32>;

/// The digest of `bytes`. May be called from any thread.
[[nodiscard]] Sha256 sha256(std::string_view bytes) noexcept;

}  // namespace llmproxy::core
