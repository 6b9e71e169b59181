#pragma once

#include "llmproxy/core/secret.hpp"
#include "llmproxy/policy/settings.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace llmproxy::handlers {

/// `forward:`.
struct ForwardSettings {
    policy::DestinationSettings destinations;
    std::chrono::nanoseconds idle_timeout{
        std::chrono::minutes(10)};                  ///< a tunnel without a byte either way
    std::chrono::nanoseconds progress_interval{0};  ///< log lines of tunnels still open; 0: none
};

/// What the holder of a management token may do: read and change, or only read.
enum class ManagementRole : std::uint8_t { admin, viewer };

/// One entry of `management.tokens`.
struct ManagementToken {
    std::string name;  ///< in the audit log
    core::Secret token;
    ManagementRole role = ManagementRole::admin;
};

/// `management:`.
struct ManagementSettings {
    core::Secret token;  ///< `management.token`: of an admin named `admin`; empty: none
    std::vector<ManagementToken> tokens;
};

}  // namespace llmproxy::handlers
