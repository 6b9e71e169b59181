#pragma once

#include "llmproxy/telemetry/metrics.hpp"

#include <cstddef>

namespace llmproxy::telemetry {

/// A row of the catalogue.
enum class Metric : std::uint8_t {
    requests,
    request_duration,
    proxy_overhead,
    upstream_first_byte,
    active_requests,
    queued_requests,
    connections,
    rejections,
    upstream_connects,
    upstream_reuses,
    backend_healthy,
    health_checks,
    tokens,
    open_tunnels,
    tunnels,
    tunnel_bytes,
    forward_refusals,
    access_log_dropped,
    config_reloads,
    build_info,
};

inline constexpr std::size_t kMetrics = static_cast<std::size_t>(Metric::build_info) + 1;

[[nodiscard]] const MetricInfo& info_of(Metric metric) noexcept;

}  // namespace llmproxy::telemetry
