#include "llmproxy/config/load.hpp"

#include "llmproxy/config/documents.hpp"
#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace llmproxy::config {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const Snapshot> must_load(const std::string& text,
                                          const Environment& environment = {})
{
    const auto loaded = load_text(text, "f", environment);
    for (const auto& problem : loaded.problems) {
        ADD_FAILURE() << problem.to_string();
    }
    return loaded.snapshot ? loaded.snapshot : std::make_shared<const Snapshot>();
}

bool warns(const Snapshot& snapshot, const std::string& part)
{
    for (const auto& warning : snapshot.warnings) {
        if (warning.find(part) != std::string::npos) {
            return true;
        }
    }
    return false;
}

/// A file that is gone with the test.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& content) { test::write_file(path_, content); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    test::TempDir directory_;
    std::string path_ = directory_.file("file");
};

TEST(Load, GivesDefaultsForAnEmptyFile)
{
    const auto snapshot = must_load("");

    ASSERT_EQ(snapshot->server.listeners.size(), 2U);
    EXPECT_EQ(snapshot->server.listeners[0].address, "127.0.0.1:8888");
    EXPECT_TRUE(snapshot->server.listeners[0].serves(edge::Role::gateway));
    EXPECT_TRUE(snapshot->server.listeners[0].serves(edge::Role::health));
    EXPECT_EQ(snapshot->server.listeners[1].name, "admin");
    EXPECT_TRUE(snapshot->server.listeners[1].serves(edge::Role::metrics));
    EXPECT_FALSE(snapshot->server.listeners[1].serves(edge::Role::gateway));
    EXPECT_EQ(snapshot->auth.mode, auth::Mode::token);
    EXPECT_TRUE(warns(*snapshot, "every request will be refused"));
    EXPECT_TRUE(warns(*snapshot, "no usable backend"));
}

TEST(Load, AgreesWithTheDefaultsOfTheSettings)
{
    Snapshot settings;
    settings.server.listeners = must_load("")->server.listeners;

    EXPECT_EQ(effective_yaml(settings), effective_yaml(*must_load("")));
    EXPECT_EQ(must_load("")->server.write_timeout, edge::Settings{}.write_timeout);

    settings.upstream.backends.emplace_back();
    settings.upstream.backends[0].name = "a";
    settings.upstream.backends[0].provider = upstream::Provider::mock;
    EXPECT_EQ(effective_yaml(settings),
              effective_yaml(*must_load("backends: [{name: a, provider: mock}]")));
}

TEST(Load, ForwardsNowhereByDefault)
{
    const auto snapshot = must_load("server: {listeners: [{name: a, address: \"127.0.0.1:1\", "
                                    "serve: [forward]}]}");
    const auto& destinations = snapshot->forward.destinations;
    EXPECT_TRUE(destinations.allow.empty());
    EXPECT_TRUE(destinations.allow_private.empty());
    EXPECT_EQ(destinations.connect_ports, std::vector<std::uint16_t>{443});
    EXPECT_EQ(destinations.http_ports, std::vector<std::uint16_t>{80});
    EXPECT_EQ(snapshot->forward.idle_timeout, 10min);
    EXPECT_TRUE(warns(*snapshot, "the forward proxy will refuse every destination"));
}

TEST(Load, WarnsOfPrivateBlocksThatHoldCloudCredentials)
{
    EXPECT_TRUE(warns(*must_load("forward: {allow_private: [169.254.0.0/16]}"),
                      "where clouds give out credentials"));
    EXPECT_FALSE(warns(*must_load("forward: {allow_private: [10.0.0.0/8]}"),
                       "where clouds give out credentials"));
}

TEST(Load, FillsEverySection)
{
    const auto snapshot = must_load(R"(
server:
  threads: 3
  drain_delay: 250ms
  trusted_proxies: [10.0.0.0/8, "::1"]
  listeners:
    - name: main
      address: "[::]:0"
      serve: [gateway, forward]
      proxy_protocol: true
      tls: {certificate: c, key: k, client_ca: ca, allow_plain: true}
limits: {max_header_bytes: 64KiB, max_body_bytes: 10KB, keepalive_timeout: 1h30m}
timeout: {write_timeout: 7s, connect_timeout: 1500us}
pool: {max_idle_per_backend: 7, idle_timeout: 90s}
backends:
  - name: a_1-b
    base_url: https://[::1]:8443/x
    api_keys: [k1, k2]
    models: ["*"]
    weight: 5
    priority: -1
    tls: {ca: ca, certificate: c, key: k, insecure_skip_verify: true}
    headers: {X-A: "1"}
    proxy: http://u:p@h:3128
    inject_usage: off
    mock: {latency: 20ms, chunk_interval: 1ms, chunks: 3, error_rate: 0.25, error_status: 429}
default_backend: a_1-b
forward:
  allow: ["a.b:8443", "*.c"]
  allow_private: [10.0.0.0/8]
  connect_ports: [443, 8443]
  http_ports: []
  idle_timeout: 30s
  progress_interval: 1m
auth: {mode: token, static_tokens: [{name: ci, token: t, hosts: ["*.c"]}]}
logging: {level: debug, format: text, path: /log, access_log: {enabled: no, format: envoy, path: a}}
)");

    EXPECT_EQ(snapshot->server.threads, 3U);
    EXPECT_EQ(snapshot->server.drain_delay, 250ms);
    EXPECT_EQ(snapshot->server.trusted_proxies.size(), 2U);
    const auto& listener = snapshot->server.listeners.at(0);
    EXPECT_EQ(listener.tls, (net::ServerTlsSettings{"c", "k", "ca", true}));
    EXPECT_TRUE(listener.proxy_protocol);
    EXPECT_FALSE(listener.serves(edge::Role::health));
    EXPECT_EQ(snapshot->server.max_header_bytes, 65536U);
    EXPECT_EQ(snapshot->pipeline.max_body_bytes, 10000U);
    EXPECT_EQ(snapshot->server.keepalive_timeout, 90min);
    EXPECT_EQ(snapshot->server.write_timeout, 7s);
    EXPECT_EQ(snapshot->pipeline.write_timeout, 7s);
    EXPECT_EQ(snapshot->upstream.connect_timeout, 1500us);
    EXPECT_EQ(snapshot->upstream.max_idle_per_backend, 7U);
    EXPECT_EQ(snapshot->upstream.idle_timeout, 90s);
    const auto& backend = snapshot->upstream.backends.at(0);
    EXPECT_EQ(backend.api_keys.at(1).reveal(), "k2");
    EXPECT_EQ(backend.weight, 5U);
    EXPECT_EQ(backend.priority, -1);
    EXPECT_EQ(backend.tls, (net::ClientTlsSettings{"ca", "c", "k", true}));
    EXPECT_EQ(backend.headers.at("X-A"), "1");
    EXPECT_EQ(backend.proxy, "http://u:p@h:3128");
    EXPECT_EQ(backend.inject_usage, upstream::InjectUsage::off);
    EXPECT_EQ(backend.mock, (upstream::MockSettings{20ms, 1ms, 3, 0.25, 429}));
    EXPECT_EQ(snapshot->pipeline.default_backend, "a_1-b");
    EXPECT_EQ(snapshot->auth.static_tokens.at(0).token.reveal(), "t");
    const auto& destinations = snapshot->forward.destinations;
    EXPECT_EQ(destinations.allow, (std::vector<std::string>{"a.b:8443", "*.c"}));
    EXPECT_EQ(destinations.allow_private, std::vector<std::string>{"10.0.0.0/8"});
    EXPECT_EQ(destinations.connect_ports, (std::vector<std::uint16_t>{443, 8443}));
    EXPECT_TRUE(destinations.http_ports.empty());
    EXPECT_EQ(snapshot->forward.idle_timeout, 30s);
    EXPECT_EQ(snapshot->forward.progress_interval, 1min);
    EXPECT_EQ(snapshot->auth.static_tokens.at(0).hosts, std::vector<std::string>{"*.c"});
    EXPECT_NE(effective_yaml(*snapshot).find("connect_ports: [443, 8443]"), std::string::npos);
    EXPECT_EQ(snapshot->logging.level, telemetry::Level::debug);
    EXPECT_EQ(snapshot->logging.format, telemetry::LogFormat::text);
    EXPECT_FALSE(snapshot->logging.access_log.enabled);
    EXPECT_EQ(snapshot->logging.access_log.format, telemetry::AccessFormat::envoy);
    EXPECT_TRUE(warns(*snapshot, "is not verified"));
}

TEST(Load, FillsWhatMakesItResilient)
{
    const auto snapshot = must_load(R"(
backends:
  - name: a
    provider: mock
    adaptive_timeout: {enabled: true, floor: 4s}
    health_check: {path: /health, interval: 1s, timeout: 2s, unhealthy_threshold: 4, healthy_threshold: 5}
balancing: {policy: fastest}
fallback:
  max_retries: 7
  enable_backoff: false
  backoff_initial_delay: 250
  backoff_max_delay: 8s
  backoff_multiplier: 1.5
  backoff_jitter: 0.25
  backoff_jitter_mode: full
  retry_budget: 0.5
  cooldown_seconds: 120
  enable_circuit_breaker: false
  circuit_failure_threshold: 9
  circuit_success_threshold: 3
  circuit_open_timeout: 30
)");
    EXPECT_EQ(snapshot->upstream.backends.at(0).adaptive_timeout,
              (policy::AdaptiveTimeoutSettings{true, 4s}));
    EXPECT_EQ(snapshot->upstream.backends.at(0).health_check,
              (policy::HealthCheckSettings{"/health", 1s, 2s, 4, 5}));
    policy::Settings expected;
    expected.max_retries = 7;
    expected.backoff = {false, 250ms, 8s, 1.5, 0.25, policy::JitterMode::full};
    expected.retry_budget.deposit = 0.5;
    expected.circuit = {false, 9, 3, 30s, 120s};
    expected.balancing = policy::Balancing::fastest;
    EXPECT_EQ(snapshot->policy, expected);
}

TEST(Load, AcceptsValuesAtTheirBoundsOnly)
{
    for (const auto* text : {"0", "1024"}) {
        EXPECT_TRUE(load_text(std::string("server: {threads: ") + text + "}", "f", {}).snapshot);
    }
    for (const auto* text : {"-1", "1025", "1.0", "0x10", "99999999999999999999"}) {
        EXPECT_FALSE(load_text(std::string("server: {threads: ") + text + "}", "f", {}).snapshot);
    }
}

TEST(Load, TakesTheOldNameOfTheIdleTimeoutWithAWarning)
{
    const auto old_name = must_load("timeout: {read_timeout: 5s}");
    EXPECT_EQ(old_name->pipeline.stream_idle_timeout, 5s);
    EXPECT_TRUE(warns(*old_name, "f:1:25: warning: timeout.read_timeout: "));

    const auto both = must_load("timeout: {read_timeout: 5s, stream_idle_timeout: 6s}");
    EXPECT_EQ(both->pipeline.stream_idle_timeout, 6s);
}

TEST(Environment, OverridesTheFile)
{
    const auto snapshot = must_load("server: {threads: 1}\nlimits: {max_body_bytes: 1KiB}\n",
                                    {{"LLM_PROXY_SERVER_THREADS", "5"},
                                     {"LLM_PROXY_LIMITS_MAX_BODY_BYTES", "2KiB"},
                                     {"LLM_PROXY_LOGGING_ACCESS_LOG_ENABLED", "false"},
                                     {"LLM_PROXY_LOGGING_PATH", "/tmp/${X}"}});

    EXPECT_EQ(snapshot->server.threads, 5U);
    EXPECT_EQ(snapshot->pipeline.max_body_bytes, 2048U);
    EXPECT_FALSE(snapshot->logging.access_log.enabled);
    EXPECT_EQ(snapshot->logging.path, "/tmp/${X}");
}

TEST(Environment, ThatIsUnknownIsAWarning)
{
    const auto snapshot =
        must_load("logging: {path: \"${LLM_PROXY_MINE:-x}\"}",
                  {{"LLM_PROXY_SERVER_THREAD", "5"}, {"LLM_PROXY_MINE", "y"}, {"OTHER", "z"}});

    EXPECT_TRUE(warns(*snapshot, "LLM_PROXY_SERVER_THREAD overrides no setting; did you mean "
                                 "LLM_PROXY_SERVER_THREADS?"));
    EXPECT_FALSE(warns(*snapshot, "MINE"));
    EXPECT_EQ(snapshot->logging.path, "y");
}

TEST(Environment, ThatIsWrongInAReferenceIsToldByThePlaceOfTheKey)
{
    const auto loaded = load_text("default_backend: b", "f", {{"LLM_PROXY_DEFAULT_BACKEND", "c"}});

    ASSERT_EQ(loaded.problems.size(), 1U);
    EXPECT_EQ(loaded.problems[0].file, "environment");
    EXPECT_EQ(loaded.problems[0].line, 0);
}

TEST(BackendKey, ThatResolvesToNothingDisablesTheBackend)
{
    const std::string head = "backends: [{name: a, base_url: \"http://a\", ";
    for (const auto* key :
         {"api_key: \"${NO_SUCH}\"", "api_key: \"${EMPTY}\"", "api_key: \"${NO_SUCH:-}\"",
          "api_keys: [\"${NO_SUCH}\", \"${EMPTY}\"]", "api_key: \"Bearer-${NO_SUCH}\""}) {
        const auto snapshot = must_load(head + key + "}]\ndefault_backend: a", {{"EMPTY", ""}});
        ASSERT_EQ(snapshot->upstream.backends.size(), 1U) << key;
        EXPECT_TRUE(snapshot->upstream.backends[0].disabled) << key;
        EXPECT_TRUE(warns(*snapshot, "backend 'a' is disabled")) << key;
        EXPECT_TRUE(warns(*snapshot, "names the disabled backend 'a'")) << key;
    }
}

TEST(BackendKey, ThatIsNotConfiguredLeavesTheBackendEnabled)
{
    const auto snapshot = must_load("backends: [{name: a, base_url: \"http://a\"}]");

    EXPECT_FALSE(snapshot->upstream.backends.at(0).disabled);
    EXPECT_TRUE(snapshot->upstream.backends.at(0).api_keys.empty());
}

TEST(BackendKey, OfSeveralUsesThoseThatResolve)
{
    const auto snapshot = must_load(
        "backends: [{name: a, base_url: \"http://a\", api_keys: [\"${NO_SUCH}\", \"${K}\"]}]",
        {{"K", "k"}});

    EXPECT_FALSE(snapshot->upstream.backends.at(0).disabled);
    ASSERT_EQ(snapshot->upstream.backends.at(0).api_keys.size(), 1U);
    EXPECT_EQ(snapshot->upstream.backends.at(0).api_keys[0].reveal(), "k");
}

TEST(SecretFile, IsReadWithoutItsLineEnd)
{
    const TemporaryFile file("sk-canary\r\n");
    const auto snapshot =
        must_load("backends: [{name: a, base_url: \"http://a\", api_key_file: \"" + file.path() +
                      "\"}]\nauth: {static_tokens: [{name: t, token_file: \"${FILE}\"}]}",
                  {{"FILE", file.path()}});

    EXPECT_EQ(snapshot->upstream.backends.at(0).api_keys.at(0).reveal(), "sk-canary");
    EXPECT_EQ(snapshot->auth.static_tokens.at(0).token.reveal(), "sk-canary");
}

TEST(SecretFile, ThatIsEmptyDisablesTheBackend)
{
    const TemporaryFile file("\n");
    const auto snapshot = must_load(
        "backends: [{name: a, base_url: \"http://a\", api_key_file: \"" + file.path() + "\"}]");

    EXPECT_TRUE(snapshot->upstream.backends.at(0).disabled);
}

TEST(LoadFile, TellsWhyAFileCannotBeRead)
{
    const auto missing = load_file("/nonexistent/llm-proxy.yaml", {});
    ASSERT_EQ(missing.problems.size(), 1U);
    EXPECT_EQ(missing.problems[0].to_string(), "/nonexistent/llm-proxy.yaml: expected a readable "
                                               "file; got: No such file or directory");
    EXPECT_EQ(load_file("/", {}).problems.size(), 1U);
}

TEST(LoadFile, AcceptsAnEmptyFile)
{
    const TemporaryFile file("");
    EXPECT_NE(load_file(file.path(), {}).snapshot, nullptr);
}

TEST(NeedsRestart, NamesWhatAReloadCannotChange)
{
    const auto running = must_load("server: {threads: 1, drain_timeout: 1s}");
    const auto next =
        must_load("server: {threads: 2, drain_timeout: 2s, listeners: [{name: main, address: "
                  "\"127.0.0.1:9999\", serve: [gateway, health]}]}");

    const auto keys = needs_restart(*running, *next);

    EXPECT_TRUE(needs_restart(*running, *running).empty());
    EXPECT_EQ(keys, (std::vector<std::string>{
                        "server.listeners[0].address", "server.listeners[1].address",
                        "server.listeners[1].name", "server.listeners[1].proxy_protocol",
                        "server.listeners[1].serve", "server.threads"}));
}

TEST(NeedsRestart, NamesAListenerThatBecomesTls)
{
    const std::string head =
        "server: {listeners: [{name: a, address: \"127.0.0.1:1\", serve: [health]";
    const auto plain = must_load(head + "}]}");
    const auto tls = must_load(head + ", tls: {certificate: c, key: k}}]}");
    const auto renewed = must_load(head + ", tls: {certificate: c2, key: k2}}]}");

    EXPECT_FALSE(needs_restart(*plain, *tls).empty());
    EXPECT_TRUE(needs_restart(*tls, *renewed).empty());
}

TEST(EffectiveYaml, ShowsNoSecret)
{
    const auto snapshot =
        must_load("backends:\n"
                  "  - {name: a, base_url: \"http://a\", api_keys: [canary-1, \"${K}\"], "
                  "headers: {x-key: canary-3}, proxy: \"http://u:canary-4@h:1\"}\n"
                  "  - {name: b, base_url: \"http://b\", api_key: canary-5}\n"
                  "auth: {static_tokens: [{name: t, token: canary-6}]}\n",
                  {{"K", "canary-2"}});
    const auto text = effective_yaml(*snapshot);

    EXPECT_EQ(text.find("canary"), std::string::npos) << text;
    EXPECT_NE(text.find("api_keys: [\"***\", \"***\"]"), std::string::npos) << text;
    for (const auto& warning : snapshot->warnings) {
        EXPECT_EQ(warning.find("canary"), std::string::npos) << warning;
    }
}

TEST(EffectiveYaml, LoadsBackToItself)
{
    const auto text = effective_yaml(*must_load(
        "server: {threads: 2, listeners: [{name: m, address: \"[::1]:1\", serve: [admin], tls: "
        "{certificate: \"a b\", key: \"#\"}}]}\nlimits: {keepalive_timeout: 1h1m1s1ms1us1ns}\n"
        "backends: [{name: a, base_url: \"http://a\", models: [\"*\", \"yes\", \"1\", \"-\"], "
        "api_key: \"\"}]\n"));

    EXPECT_EQ(effective_yaml(*must_load(text)), text);
}

}  // namespace
}  // namespace llmproxy::config
