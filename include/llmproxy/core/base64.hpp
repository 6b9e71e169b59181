#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// `bytes` as base64 with padding (RFC 4648, section 4).
[[nodiscard]] std::string encode_base64(std::string_view bytes);

/// The bytes of a base64 text (RFC 4648, section 4): canonical padding and no foreign characters,
/// or none.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace llmproxy::core
