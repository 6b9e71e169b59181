#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/policy/circuit_breaker.hpp"
#include "support/test_ca.hpp"
#include "support/test_client.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::app {
class Daemon;
}

namespace llmproxy::test {

/// The configuration of a gateway under test, as YAML: what a test does not say is plain, open and loopback, and each
/// request makes one attempt: retries and circuits are off unless the test sets `fallback`.
struct GatewayConfig {
    /// Listeners as YAML list items; empty: `main` (gateway, health) and `ops` (metrics, health), plain.
    std::string listeners;
    std::string server;  ///< more keys of `server:`, indented by two, one per line
    std::string auth = "{ mode: open }";
    std::string access_log_format = "json";
    std::string access_log_more;  ///< more keys of `logging.access_log`, each with a comma in front
    std::string logging_more;     ///< the same of `logging`
    std::string log_level = "debug";
    std::string more;                   ///< more top-level keys, one per line
    std::vector<std::string> backends;  ///< flow maps

    GatewayConfig() = default;
    /// One backend `b1` for every model, also the default.
    explicit GatewayConfig(const std::string& url, const std::string& backend_more = {});

    /// Adds a backend; `models` as a flow list.
    GatewayConfig& backend(const std::string& name, const std::string& url,
                           const std::string& models = R"(["*"])",
                           const std::string& more_keys = {});
    /// Adds a top-level key.
    GatewayConfig& set(const std::string& key, const std::string& value);
    GatewayConfig& listen(std::string items);
    GatewayConfig& server_key(const std::string& key, const std::string& value);

    [[nodiscard]] std::string yaml(const std::string& log_dir) const;
};

/// The whole daemon in this process, on ports of the system's choice, logging into a directory of its own.
/// Thread safety: none, but for what Daemon says of itself.
class ProxyUnderTest {
public:
    /// Throws std::runtime_error, with all problems, if the configuration is refused or the daemon does not start.
    /// \param lookup  answers for the system's resolver, if given.
    /// \param clock  for circuits and resting keys, in place of the machine's, if given.
    explicit ProxyUnderTest(const GatewayConfig& config, const net::Lookup& lookup = {},
                            std::shared_ptr<const core::Clock> clock = nullptr);
    ProxyUnderTest(const ProxyUnderTest&) = delete;
    ProxyUnderTest& operator=(const ProxyUnderTest&) = delete;
    ~ProxyUnderTest();

    [[nodiscard]] std::uint16_t port(std::string_view listener = "main") const;
    [[nodiscard]] TestClient connect(std::string_view listener = "main") const
    {
        return TestClient(port(listener));
    }
    /// One request on a connection of its own.
    Response ask(std::string_view request, std::string_view listener = "main") const;

    void drain();
    void stop_now();
    int wait();
    void reload(const GatewayConfig& config);
    /// As an operator does; false if there is no such backend.
    bool order_circuit(std::string_view backend, policy::CircuitOrder order);
    /// The file that a reload by a signal or the management API reads.
    [[nodiscard]] std::string config_file() const { return dir_.file("proxy.yaml"); }

    /// The access log's line with that request id, waiting until it is there; null if it never comes.
    nlohmann::json access_line(const std::string& request_id);
    /// The line of the request that got this response.
    nlohmann::json access_line(const Response& response);
    /// The access log's first line with `key` equal to `value`.
    nlohmann::json access_line_where(const std::string& key, const nlohmann::json& value);
    /// The access log's first line of which `wanted` is true, waiting until it is there; empty if it never comes.
    std::string access_text(const std::function<bool(const std::string&)>& wanted);
    [[nodiscard]] std::string access_log() const { return read_file(dir_.file("access.log")); }
    [[nodiscard]] std::string diagnostics() const
    {
        return read_file(dir_.file("diagnostics.log"));
    }
    /// The text of /metrics.
    [[nodiscard]] std::string metrics() const;
    /// Value of the first sample whose line starts with `prefix`; -1 if there is none.
    [[nodiscard]] double metric(std::string_view prefix) const;

private:
    TempDir dir_;
    std::unique_ptr<app::Daemon> daemon_;
    bool ended_ = false;
    int exit_code_ = -1;
};

/// A chat request for `model`.
[[nodiscard]] std::string chat_body(std::string_view model = "gpt-4o", bool stream = false);
[[nodiscard]] std::string chat(std::string_view model = "gpt-4o", bool stream = false,
                               std::string_view more_fields = {});
/// `error.code` of an error of the proxy; the body itself if it is none.
[[nodiscard]] std::string error_code(const Response& response);

}  // namespace llmproxy::test
