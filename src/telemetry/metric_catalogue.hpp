#pragma once

#include "llmproxy/telemetry/metrics.hpp"

#include <cstddef>

namespace llmproxy::telemetry {

/// A row of the catalogue.
enum class Metric : std::uint8_t {
    requests,
    request_duration,
    gen_ai_tokens,
    gen_ai_duration,
    gen_ai_first_token,
    gen_ai_output_token,
    proxy_overhead,
    upstream_first_byte,
    active_requests,
    queued_requests,
    connections,
    rejections,
    client_disconnects,
    attempts,
    retry_wait,
    circuit_state,
    circuit_transitions,
    streams_truncated,
    pool_connections,
    upstream_connects,
    upstream_reuses,
    upstream_reuse_ratio,
    dns,
    tls_handshake,
    backend_healthy,
    health_checks,
    tokens,
    tunnels_active,
    tunnels,
    tunnel_bytes,
    forward_refusals,
    cost,
    budget_used,
    store_up,
    store_commit,
    store_queue,
    store_unsettled,
    store_failures,
    log_dropped,
    traces,
    config_reloads,
    certificate_expiry,
    process_cpu,
    process_start,
    process_resident,
    process_virtual,
    process_open_fds,
    process_max_fds,
    process_threads,
    build_info,
};

inline constexpr std::size_t kMetrics = static_cast<std::size_t>(Metric::build_info) + 1;

[[nodiscard]] const MetricInfo& info_of(Metric metric) noexcept;

}  // namespace llmproxy::telemetry
