#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/secret.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace llmproxy::otlp {

/// `tracing:`.
struct Settings {
    std::string endpoint;  ///< of the collector; empty: no traces
    std::map<std::string, std::string> headers;
    core::Secret authorization;  ///< value of the field; empty: none
    std::string ca;              ///< PEM file in place of the system's CAs
    double sample_ratio = 0.1;
    std::uint32_t queue = 2048;  ///< requests
    std::uint32_t batch = 256;   ///< requests
    core::Duration interval = std::chrono::seconds(1);
    core::Duration timeout = std::chrono::seconds(10);
    std::string service_name = "llm-proxy";
};

}  // namespace llmproxy::otlp
