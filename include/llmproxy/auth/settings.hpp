#pragma once

#include "llmproxy/core/secret.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace llmproxy::auth {

enum class Mode : std::uint8_t { token, open };

/// One entry of `auth.static_tokens`.
struct StaticToken {
    std::string name;
    core::Secret token;
    std::vector<std::string> hosts;  ///< core::HostPattern texts; empty: all of `forward.allow`
};

/// `auth:`.
struct Settings {
    Mode mode = Mode::token;
    bool allow_open = false;  ///< mode open on addresses that are not loopback
    std::vector<StaticToken> static_tokens;
};

}  // namespace llmproxy::auth
