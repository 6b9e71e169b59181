#pragma once

#include "llmproxy/core/secret.hpp"
#include "llmproxy/net/settings.hpp"
#include "llmproxy/policy/settings.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmproxy::upstream {

enum class Provider : std::uint8_t { openai, mock };
[[nodiscard]] constexpr std::string_view to_string(Provider provider) noexcept
{
    return provider == Provider::mock ? "mock" : "openai";
}
enum class InjectUsage : std::uint8_t { automatic, off };

/// How the in-process mock provider behaves. A model name may override: `mock-gpt?latency=20ms&chunks=5`.
struct MockSettings {
    std::chrono::nanoseconds latency{0};         ///< before the first byte
    std::chrono::nanoseconds chunk_interval{0};  ///< between two events of a stream
    std::uint32_t chunks = 8;                    ///< events with content in a stream
    double error_rate = 0.0;  ///< share of requests answered by error_status; deterministic
    std::uint16_t error_status = 500;

    friend bool operator==(const MockSettings&, const MockSettings&) = default;
};

/// One entry of `backends:`.
struct BackendSettings {
    std::string name;
    Provider provider = Provider::openai;
    std::string base_url;                ///< http(s)://host[:port][/path]; unused by mock
    std::vector<core::Secret> api_keys;  ///< empty: no credential is sent
    std::vector<std::string> models;     ///< globs
    std::uint32_t weight = 1;
    std::int32_t priority = 0;  ///< lower first
    net::ClientTlsSettings tls;
    std::map<std::string, std::string> headers;
    std::string proxy;  ///< http(s)://[user:pass@]host:port, reached by CONNECT
    InjectUsage inject_usage = InjectUsage::automatic;
    policy::AdaptiveTimeoutSettings adaptive_timeout;
    policy::HealthCheckSettings health_check;
    MockSettings mock;
    bool disabled =
        false;  ///< set by the loader when api_key was configured but resolved to nothing

    friend bool operator==(const BackendSettings&, const BackendSettings&) = default;
};

/// One entry of `models[].targets`.
struct TargetSettings {
    std::string backend;  ///< its name
    std::string model;    ///< what the backend is asked for; empty: the public name itself
    std::uint32_t weight = 1;

    friend bool operator==(const TargetSettings&, const TargetSettings&) = default;
};

/// One entry of `models:`, a name that clients use for models of several backends.
struct PublicModelSettings {
    std::string name;
    std::vector<TargetSettings> targets;

    friend bool operator==(const PublicModelSettings&, const PublicModelSettings&) = default;
};

/// `pool:`, `timeout.connect_timeout`, `backends:` and `models:`.
struct Settings {
    std::uint32_t max_connections_per_backend = 1024;
    std::uint32_t max_idle_per_backend = 0;  ///< 0: auto, clamp(backends * 5, 10, 50)
    std::chrono::nanoseconds idle_timeout{std::chrono::minutes(10)};
    std::chrono::nanoseconds connect_timeout{
        std::chrono::seconds(10)};  ///< DNS + TCP + TLS together
    std::vector<BackendSettings> backends;
    std::vector<PublicModelSettings> models;
};

}  // namespace llmproxy::upstream
