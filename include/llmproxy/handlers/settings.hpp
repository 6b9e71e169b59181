#pragma once

#include "llmproxy/policy/settings.hpp"

#include <chrono>

namespace llmproxy::handlers {

/// `forward:`.
struct ForwardSettings {
    policy::DestinationSettings destinations;
    std::chrono::nanoseconds idle_timeout{
        std::chrono::minutes(10)};                  ///< a tunnel without a byte either way
    std::chrono::nanoseconds progress_interval{0};  ///< log lines of tunnels still open; 0: none
};

}  // namespace llmproxy::handlers
