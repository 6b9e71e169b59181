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

/// `telemetry:`.
struct DetailSettings {
    std::uint32_t recent_requests = 1000;  ///< that are kept in memory; 0: none
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
        double sample = 1.0;          ///< share of the lines without trouble that is written
    } access_log;
    /// `logging.bodies`.
    struct Bodies {
        bool enabled = false;
        std::uint64_t max_bytes = 4096;  ///< that are shown of each body
        std::string path = "bodies.log";
    } bodies;
};

}  // namespace llmproxy::telemetry
