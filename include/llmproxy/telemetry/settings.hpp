#pragma once

#include <cstdint>
#include <string>

namespace llmproxy::telemetry {

enum class Level : std::uint8_t { trace, debug, info, warn, error };
enum class LogFormat : std::uint8_t { json, text };
enum class AccessFormat : std::uint8_t { json, envoy };

/// `metrics:`.
struct MetricsSettings {
    std::uint32_t max_models = 100;  ///< names that become label values
    std::uint32_t max_projects = 0;  ///< the same of projects; 0: the label stays empty
};

/// `logging:`.
struct Settings {
    Level level = Level::info;
    LogFormat format = LogFormat::json;
    std::string path = "stderr";  ///< stderr, stdout or a file
    struct AccessLog {
        bool enabled = true;
        AccessFormat format = AccessFormat::json;
        std::string path = "stdout";  ///< stdout, stderr or a file
    } access_log;
};

}  // namespace llmproxy::telemetry
