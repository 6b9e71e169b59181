#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::http {

/// Whether a value of Accept-Encoding allows `coding` by name or by `*` (RFC 9110, section 12.5.3).
[[nodiscard]] bool accepts_coding(std::string_view accept_encoding,
                                  std::string_view coding) noexcept;

/// `text` as one gzip member (RFC 1952), fast rather than small; nothing if there was no memory for it.
[[nodiscard]] std::optional<std::string> gzip(std::string_view text);

}  // namespace llmproxy::http
