#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace llmproxy::policy {

/// How a delay is spread: `equal` by +-`BackoffSettings::jitter`, `full` over everything from 0 to the delay.
enum class JitterMode : std::uint8_t { equal, full };

/// `fallback.enable_backoff` and `fallback.backoff_*`.
struct BackoffSettings {
    bool enabled = true;  ///< false: every delay is 0
    std::chrono::nanoseconds initial_delay{std::chrono::milliseconds(100)};
    std::chrono::nanoseconds max_delay{std::chrono::seconds(5)};  ///< after jitter too
    double multiplier = 2.0;
    double jitter = 0.1;  ///< 0 to 1; the mode `full` does not use it
    JitterMode mode = JitterMode::equal;

    friend bool operator==(const BackoffSettings&, const BackoffSettings&) = default;
};

/// `fallback.retry_budget`, in tokens.
struct RetryBudgetSettings {
    double deposit = 0.2;     ///< per request; each retry withdraws 1
    double initial = 10.0;    ///< in the bucket at start
    double capacity = 100.0;  ///< the bucket holds no more

    friend bool operator==(const RetryBudgetSettings&, const RetryBudgetSettings&) = default;
};

/// `fallback.enable_circuit_breaker`, `fallback.circuit_*`, `fallback.cooldown_seconds`.
struct CircuitSettings {
    bool enabled = true;
    std::uint32_t failure_threshold = 5;  ///< failures in a row that open it; at least 1
    std::uint32_t success_threshold = 2;  ///< successful probes that close it; at least 1
    /// Times the number of openings in a row, at most `longest_open`.
    std::chrono::nanoseconds open_timeout{std::chrono::seconds(60)};
    std::chrono::nanoseconds longest_open{std::chrono::seconds(300)};

    friend bool operator==(const CircuitSettings&, const CircuitSettings&) = default;
};

/// How a request's backend is chosen among those of the best priority.
enum class Balancing : std::uint8_t { round_robin, least_pending, fastest };

/// `adaptive_timeout` of a backend.
struct AdaptiveTimeoutSettings {
    bool enabled = false;
    std::chrono::nanoseconds floor{std::chrono::seconds(10)};

    friend bool operator==(const AdaptiveTimeoutSettings&,
                           const AdaptiveTimeoutSettings&) = default;
};

/// `health_check` of a backend.
struct HealthCheckSettings {
    std::string path;  ///< what is asked for by GET; empty: no checks
    std::chrono::nanoseconds interval{std::chrono::seconds(10)};
    std::chrono::nanoseconds timeout{std::chrono::seconds(5)};  ///< connection included
    std::uint32_t unhealthy_threshold = 3;                      ///< failures in a row; at least 1
    std::uint32_t healthy_threshold = 2;                        ///< successes in a row; at least 1

    friend bool operator==(const HealthCheckSettings&, const HealthCheckSettings&) = default;
};

/// `fallback:` and `balancing:`.
struct Settings {
    std::uint32_t max_retries = 3;  ///< over all backends; attempts are one more
    BackoffSettings backoff;
    RetryBudgetSettings retry_budget;
    CircuitSettings circuit;
    Balancing balancing = Balancing::least_pending;

    friend bool operator==(const Settings&, const Settings&) = default;
};

/// What of `forward:` decides where clients may go.
struct DestinationSettings {
    std::vector<std::string> allow;          ///< core::HostPattern texts; empty: nothing
    std::vector<std::string> allow_private;  ///< CIDRs
    std::vector<std::uint16_t> connect_ports{443};
    std::vector<std::uint16_t> http_ports{80};
};

}  // namespace llmproxy::policy
