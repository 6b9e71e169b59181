#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::auth {

/// What follows `scheme` and at least one space in a credential header (RFC 9110, section 11.4),
/// trimmed; none when the scheme is another one or nothing follows.
[[nodiscard]] std::optional<std::string_view> after_scheme(std::string_view value,
                                                           std::string_view scheme) noexcept;

/// User and password of a Basic credential (RFC 7617).
struct BasicCredential {
    std::string user;
    std::string password;
};

/// Reads what follows `Basic`. A text without a colon is all user.
[[nodiscard]] std::optional<BasicCredential> decode_basic(std::string_view text);

}  // namespace llmproxy::auth
