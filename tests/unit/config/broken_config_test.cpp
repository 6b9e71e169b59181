#include "llmproxy/config/load.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

namespace llmproxy::config {
namespace {

/// A configuration with one mistake, and the line that must tell it.
struct Broken {
    const char* name;
    std::string text;
    std::string told;  ///< how the problem's line begins
};

void PrintTo(const Broken& broken, std::ostream* out)
{
    *out << broken.name;
}

std::string backend(const std::string& more)
{
    return "backends:\n  - name: a\n    base_url: http://a/v1\n" + more;
}

std::string listener(const std::string& more)
{
    return "server:\n  listeners:\n    - name: main\n      serve: [gateway]\n" + more;
}

const std::string kAddress = "      address: 127.0.0.1:1\n";

class BrokenConfig : public testing::TestWithParam<Broken> {};

TEST_P(BrokenConfig, IsToldByPlaceKeyAndExpectation)
{
    const auto loaded = load_text(GetParam().text, "f", {});

    EXPECT_EQ(loaded.snapshot, nullptr);
    ASSERT_EQ(loaded.problems.size(), 1U) << loaded.problems.front().to_string() << "\n"
                                          << loaded.problems.back().to_string();
    EXPECT_TRUE(loaded.problems.front().to_string().starts_with(GetParam().told))
        << loaded.problems.front().to_string();
}

const Broken kBroken[]{
    {"syntax", "server: [1,\n", "f:2:1: expected valid YAML; got: "},
    {"tab_indent", "server:\n\tthreads: 1\n", "f:2:9: expected valid YAML; got: "},
    {"not_a_mapping", "- a\n", "f:1:1: expected a mapping; got a list"},
    {"two_documents", "{}\n---\n{}\n", "f:3:1: expected a single YAML document"},
    {"unknown_key", "server:\n  thread: 1\n",
     "f:2:3: server.thread: expected a known key; did you mean 'threads'?"},
    {"key_of_another_section", "server:\n  max_body_bytes: 1\n",
     "f:2:3: server.max_body_bytes: expected a known key; did you mean "
     "'limits.max_body_bytes'?"},
    {"unknown_section", "zzzzzzzzzzzz: 1\n",
     "f:1:1: zzzzzzzzzzzz: expected one of the keys server"},
    {"tracing_without_scheme", "tracing: { endpoint: collector:4318 }\n",
     "f:1:12: tracing.endpoint: expected http(s)://host[:port][/path]"},
    {"tracing_authorization_twice",
     "tracing: { endpoint: \"http://c\", authorization: a, authorization_file: /dev/null }\n",
     "f:1:52: tracing.authorization_file: expected only one of authorization and "
     "authorization_file"},
    {"tracing_header_of_ours", "tracing: { headers: { Host: x } }\n",
     "f:1:23: tracing.headers.Host: expected a header field that the proxy does not set itself"},
    {"later_feature", "otlp: { endpoint: x }\n", "f:1:1: otlp: expected "},
    {"merge_key", "x: &x {}\n", "f:1:1: x: expected one of the keys"},
    {"duplicate_key", "server:\n  threads: 1\n  threads: 2\n",
     "f:3:3: server.threads: expected a key once; it is given on line 2 already"},
    {"section_is_scalar", "limits: 5\n", "f:1:9: limits: expected a mapping; got a single value"},
    {"integer_is_text", "server:\n  threads: many\n",
     "f:2:12: server.threads: expected an integer from 0 to 1024; got many"},
    {"integer_too_large", "server: { threads: 1025 }\n",
     "f:1:20: server.threads: expected an integer from 0 to 1024; got \"1025\""},
    {"integer_is_list", "server: { threads: [1] }\n",
     "f:1:20: server.threads: expected an integer from 0 to 1024; got a list"},
    {"integer_is_nothing", "server:\n  threads:\n",
     "f:2:3: server.threads: expected an integer from 0 to 1024; got nothing"},
    {"duration_without_unit", "timeout:\n  connect_timeout: 10\n",
     "f:2:20: timeout.connect_timeout: expected a duration from 1ms to 1h with a unit, such as "
     "500ms, 30s or 1h30m; got \"10\""},
    {"duration_too_short", "timeout: { write_timeout: 0s }\n",
     "f:1:27: timeout.write_timeout: expected a duration from 1ms to 168h"},
    {"size_with_wrong_unit", "limits: { max_body_bytes: 3 apples }\n",
     "f:1:27: limits.max_body_bytes: expected a size from 1 to 64GiB, such as 4096, 32KiB or "
     "1GiB; got \"3 apples\""},
    {"size_too_small", "limits: { max_header_bytes: 10 }\n",
     "f:1:29: limits.max_header_bytes: expected a size from 1KiB to 1MiB"},
    {"boolean_is_number", "auth: { allow_open: 1 }\n",
     "f:1:21: auth.allow_open: expected true or false; got \"1\""},
    {"enumeration", "auth: { mode: closed }\n",
     "f:1:15: auth.mode: expected token or open; got closed"},
    {"body_beyond_buffer", "limits: { max_buffered_bytes: 1MiB }\n",
     "f:1:11: limits.max_buffered_bytes: expected limits.max_body_bytes to be at most"},
    {"idle_neither_auto_nor_number", "pool: { max_idle_per_backend: 0 }\n",
     "f:1:31: pool.max_idle_per_backend: expected auto or an integer from 1 to"},
    {"jitter_beyond_one", "fallback: { backoff_jitter: 2 }\n",
     "f:1:29: fallback.backoff_jitter: expected a number"},
    {"variable_unset", "logging: { path: \"${NO_SUCH}/log\" }\n",
     "f:1:18: logging.path: expected the environment variable NO_SUCH to be set"},
    {"variable_malformed", "logging: { path: \"${NO SUCH}\" }\n",
     "f:1:18: logging.path: expected ${NAME} or ${NAME:-default}"},
    {"tls_inside_tls",
     "backends:\n  - name: a\n    base_url: https://a/v1\n    proxy: HTTPS://p:1\n",
     "f:4:5: backends[0].proxy: expected an http:// proxy for a backend whose base_url is "
     "https://"},
    {"key_text_for_its_path",
     "backends: [{name: a, base_url: \"https://a\", tls: {key: \"-----BEGIN PRIVATE "
     "KEY-----\"}}]\n",
     "f:1:56: backends[0].tls.key: expected the path of a file, not what is in it"},
    {"no_listeners", "server: { listeners: [] }\n",
     "f:1:11: server.listeners: expected at least one listener"},
    {"listener_without_address", listener(""),
     "f:3:7: server.listeners[0].address: expected a value"},
    {"listener_without_port", listener("      address: 127.0.0.1\n"),
     "f:5:7: server.listeners[0].address: expected host:port or [v6]:port with a port from 0 to "
     "65535; got \"127.0.0.1\""},
    {"listener_port_too_large", listener("      address: 127.0.0.1:65536\n"),
     "f:5:7: server.listeners[0].address: expected host:port"},
    {"listener_v6_without_brackets", listener("      address: ::1:80\n"),
     "f:5:7: server.listeners[0].address: expected host:port"},
    {"role", "server: { listeners: [{name: a, address: \"[::1]:0\", serve: [gatewy]}] }\n",
     "f:1:61: server.listeners[0].serve[0]: expected a list of gateway, forward, health, admin "
     "or metrics; got gatewy"},
    {"no_roles", "server: { listeners: [{name: a, address: \"[::1]:0\", serve: []}] }\n",
     "f:1:60: server.listeners[0].serve: expected a list of gateway"},
    {"listener_twice",
     listener(kAddress + "    - {name: main, address: \"127.0.0.1:2\", serve: "
                         "[health]}\n"),
     "f:6:8: server.listeners[1].name: expected a name that no other entry has; got main"},
    {"address_twice",
     listener(kAddress + "    - {name: b, address: \"127.0.0.1:1\", serve: "
                         "[health]}\n"),
     "f:6:17: server.listeners[1].address: expected an address that no other listener has"},
    {"certificate_without_key", listener(kAddress + "      tls:\n        certificate: c\n"),
     "f:6:7: server.listeners[0].tls.key: expected a value"},
    {"tls_is_nothing", listener(kAddress + "      tls:\n"),
     "f:6:7: server.listeners[0].tls: expected a mapping; got nothing"},
    {"open_to_the_world", "auth: {mode: open}\n" + listener("      address: 0.0.0.0:80\n"),
     "f:6:7: server.listeners[0].address: expected a loopback address while auth.mode is open"},
    {"trusted_proxy", "server: { trusted_proxies: [10.0.0.0/33] }\n",
     "f:1:29: server.trusted_proxies[0]: expected an address or a CIDR"},
    {"backend_is_text", "backends: [openai]\n",
     "f:1:12: backends[0]: expected a mapping; got a single value"},
    {"backend_name", "backends: [{name: Open AI, base_url: \"http://a\"}]\n",
     "f:1:13: backends[0].name: expected a name of a-z, 0-9, _ and -; got \"Open AI\""},
    {"backend_twice", backend("  - {name: a, provider: mock}\n"),
     "f:4:6: backends[1].name: expected a name that no other entry has; got a"},
    {"provider", backend("    provider: opnai\n"),
     "f:4:15: backends[0].provider: expected openai or mock; got opnai"},
    {"no_base_url", "backends:\n  - name: a\n",
     "f:2:5: backends[0].base_url: expected http(s)://host[:port][/path]"},
    {"base_url_scheme", "backends: [{name: a, base_url: \"ftp://a\"}]\n",
     "f:1:22: backends[0].base_url: expected http(s)://"},
    {"base_url_query", "backends: [{name: a, base_url: \"http://a/v1?x=1\"}]\n",
     "f:1:22: backends[0].base_url: expected http(s)://"},
    {"two_ways_to_a_key", backend("    api_key: x\n    api_keys: [y]\n"),
     "f:5:5: backends[0].api_keys: expected only one of api_key, api_keys and api_key_file"},
    {"key_file_missing", backend("    api_key_file: /nonexistent/key\n"),
     "f:4:19: backends[0].api_key_file: expected the path of a readable file of at most 64KiB; "
     "got /nonexistent/key"},
    {"key_file_is_directory", backend("    api_key_file: /\n"),
     "f:4:19: backends[0].api_key_file: expected the path of a readable file"},
    {"key_with_line_end", backend("    api_key: \"a\\r\\nX: y\"\n"),
     "f:4:5: backends[0].api_key: expected a secret of visible ASCII characters"},
    {"client_certificate_without_key", backend("    tls: {certificate: c}\n"),
     "f:4:5: backends[0].tls.key: expected certificate and key to be named together"},
    {"header_name", backend("    headers: {\"a b\": c}\n"),
     "f:4:15: backends[0].headers.a b: expected a header field name"},
    {"header_hop_by_hop", backend("    headers: {Connection: close}\n"),
     "f:4:15: backends[0].headers.Connection: expected a header field that the proxy does not"},
    {"header_value", backend("    headers: {x: \"a\\nb\"}\n"),
     "f:4:15: backends[0].headers.x: expected a header field value without control"},
    {"header_twice", backend("    headers: {x-a: b, X-A: c}\n"),
     "f:4:15: backends[0].headers.x-a: expected each header field once"},
    {"egress_proxy", backend("    proxy: socks5://p:1\n"),
     "f:4:5: backends[0].proxy: expected http(s)://[user:pass@]host:port"},
    {"health_check_path", backend("    health_check: { path: \"a b\" }\n"),
     "f:4:21: backends[0].health_check.path: expected a path that begins with /"},
    {"mock_error_rate", backend("    mock: {error_rate: 1.5}\n"),
     "f:4:24: backends[0].mock.error_rate: expected a number from 0 to 1; got \"1.5\""},
    {"mock_error_rate_nan", backend("    mock: {error_rate: nan}\n"),
     "f:4:24: backends[0].mock.error_rate: expected a number from 0 to 1; got nan"},
    {"default_backend", backend("default_backend: b\n"),
     "f:4:1: default_backend: expected the name of a backend; got b"},
    {"token_missing", "auth: {static_tokens: [{name: a}]}\n",
     "f:1:24: auth.static_tokens[0].token: expected a value, token or token_file; got nothing"},
    {"token_empty", "auth: {static_tokens: [{name: a, token: \"\"}]}\n",
     "f:1:34: auth.static_tokens[0].token: expected a token of visible ASCII characters"},
    {"token_unset", "auth: {static_tokens: [{name: a, token: \"${NO_SUCH}\"}]}\n",
     "f:1:41: auth.static_tokens[0].token: expected the environment variable NO_SUCH to be set"},
    {"token_twice", "auth: {static_tokens: [{name: a, token: t}, {name: b, token: t}]}\n",
     "f:1:55: auth.static_tokens[1].token: expected a token that no other entry has"},
    {"token_hosts", "auth: {static_tokens: [{name: a, token: t, hosts: [a.b, \"a.*\"]}]}\n",
     "f:1:57: auth.static_tokens[0].hosts[1]: expected '*' alone or as the whole first label, as "
     "in "
     "*.example.com; got \"a.*\""},
    {"forward_pattern", "forward:\n  allow: [a.b, \"https://a.b\"]\n",
     "f:2:16: forward.allow[1]: expected a port from 1 to 65535 after the colon (IPv6 addresses in "
     "brackets); got \"https://a.b\""},
    {"forward_pattern_path", "forward: {allow: [a.b/c]}\n",
     "f:1:19: forward.allow[0]: expected host[:port], *.domain[:port], address or [IPv6 address]; "
     "it has a character that no host name may have; got a.b/c"},
    {"forward_pattern_not_a_list", "forward: {allow: a.b}\n",
     "f:1:18: forward.allow: expected a list of texts; got a.b"},
    {"forward_private", "forward: {allow_private: [10.0.0.0/8, 10.0.0.0/33]}\n",
     "f:1:39: forward.allow_private[1]: expected an address or a CIDR such as 10.20.0.0/16; got "
     "10.0.0.0/33"},
    {"forward_port", "forward: {connect_ports: [443, 0]}\n",
     "f:1:32: forward.connect_ports[1]: expected a list of ports from 1 to 65535; got \"0\""},
    {"forward_port_name", "forward: {http_ports: [http]}\n",
     "f:1:24: forward.http_ports[0]: expected a list of ports from 1 to 65535; got http"},
    {"forward_idle_timeout", "forward: {idle_timeout: 0s}\n",
     "f:1:25: forward.idle_timeout: expected a duration from 1ms to 720h with a unit"},
};

INSTANTIATE_TEST_SUITE_P(AcceptanceList, BrokenConfig, testing::ValuesIn(kBroken),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(BrokenConfigs, AreToldAllAtOnce)
{
    const auto loaded =
        load_text("server: {threads: x}\nlimits: {nonsense: 1}\ndefault_backend: b\n", "f",
                  {{"LLM_PROXY_SERVER_DRAIN_DELAY", "soon"}});

    ASSERT_EQ(loaded.problems.size(), 4U);
    EXPECT_EQ(loaded.problems[0].key, "server.threads");
    EXPECT_EQ(
        loaded.problems[1].to_string(),
        "environment: server.drain_delay: expected a duration from 0s to 1h with a unit, such as "
        "500ms, 30s or 1h30m; got soon");
    EXPECT_EQ(loaded.problems[1].line, 0);
    EXPECT_EQ(loaded.problems[2].key, "limits.nonsense");
    EXPECT_EQ(loaded.problems[3].key, "default_backend");
}

TEST(BrokenConfigs, NeitherLoopNorExplode)
{
    std::string deep(5000, '[');
    std::string bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n";
    for (char c = 'b'; c < 'k'; ++c) {
        const std::string before(1, static_cast<char>(c - 1));
        bomb += std::string(1, c) + ": &" + c + " [";
        for (int i = 0; i < 10; ++i) {
            bomb += (i == 0 ? "*" : ",*") + before;
        }
        bomb += "]\n";
    }
    for (const auto& text : {std::string("server: &s {listeners: *s}\n"), deep, bomb}) {
        EXPECT_EQ(load_text(text, "f", {}).snapshot, nullptr);
    }
}

TEST(BrokenConfigs, ShowNoSecret)
{
    const auto loaded = load_text(
        "server: {threads: \"${KEY}\"}\n"
        "backends:\n"
        "  - {name: a, base_url: \"http://u:canary@h\", api_key: \"canary \", "
        "headers: {x: \"canary\\n\"}, proxy: \"ftp://canary@h\"}\n"
        "auth: {static_tokens: [{name: a, token: [canary]}, {name: b, token: \"canary \"}]}\n",
        "f", {{"KEY", "canary"}});

    EXPECT_EQ(loaded.problems.size(), 7U);
    for (const auto& problem : loaded.problems) {
        EXPECT_EQ(problem.to_string().find("canary"), std::string::npos) << problem.to_string();
    }
}

}  // namespace
}  // namespace llmproxy::config
