#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::cli {

/// An http(s) URL taken apart; without user, query and fragment.
struct Url {
    bool tls = false;
    std::string host;  ///< IPv6 without brackets
    std::uint16_t port = 0;
    std::string authority;  ///< for the Host field
    std::string path;       ///< without a slash at its end; empty for the root
};

/// Reads `http(s)://host[:port][/path]`. None for anything else.
[[nodiscard]] std::optional<Url> parse_url(std::string_view text);

}  // namespace llmproxy::cli
