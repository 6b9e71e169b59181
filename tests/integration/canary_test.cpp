// Canary secrets in every place that takes one, and a look at everything the daemon says: none may show.

#include "llmproxy/cli/config_commands.hpp"
#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <sstream>

using namespace llmproxy::test;

namespace {

const std::string kToken = "canary-client-token-0123456789";
const std::string kKey = "sk-canary-backend-key-0123456789";
const std::string kAdmin = "canary-admin-token-0123456789";
const std::string kPassword = "canary-egress-password";
const std::string kHeader = "canary-backend-header";
const std::string kEgressBasic = "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LWVncmVzcy1wYXNzd29yZA==";

class Canary : public testing::Test {
protected:
    Canary()
    {
        // Upstreams and egress proxies that echo what they were sent, in replies of every kind.
        backend.always([](Exchange& exchange) {
            const auto status = exchange.request().head["x-status"];
            const auto echo = "{\"error\":{\"message\":\"you sent " +
                              exchange.request().head["authorization"] + "\"}}";
            if (status == "sse") {
                exchange.begin_sse();
                exchange.piece("data: {}\n\n");
                exchange.close();
            } else if (status == "close") {
                exchange.close();
            } else if (status == "garbage") {
                exchange.raw(exchange.request().head.raw);
                exchange.close();
            } else if (status.empty()) {
                exchange.json(R"({"usage":{"prompt_tokens":1,"completion_tokens":2}})");
            } else {
                exchange.json(echo, std::stoi(status));
            }
        });
        egress.always([](Exchange& exchange) {
            exchange.reply(407, exchange.request().head.raw,
                           "X-Echo: " + exchange.request().head["proxy-authorization"] + "\r\n");
        });
        talkative.always([](Exchange& exchange) {
            exchange.raw(exchange.request().head["proxy-authorization"] + "\r\n\r\n");
            exchange.close();
        });
        std::istringstream pem(read_file(leaf.key) + read_file(client_leaf.key));
        for (std::string line; std::getline(pem, line);) {
            if (!line.starts_with("-----")) {
                secrets.push_back(line);
            }
        }
    }

    [[nodiscard]] GatewayConfig config(const std::string& format) const
    {
        const auto keys = "api_key: " + kKey + ", headers: { X-Secret: " + kHeader +
                          " }, tls: { ca: \"" + ca.certificate() + "\", certificate: \"" +
                          client_leaf.certificate + "\", key: \"" + client_leaf.key + "\" }";
        const auto through = [&](const FakeBackend& proxy) {
            auto url = proxy.url("");
            return keys + ", proxy: \"" + url.insert(7, "canary-user:" + kPassword + "@") + "\"";
        };
        GatewayConfig made;
        made.listen(
            "    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, health], tls: { "
            "certificate: \"" +
            leaf.certificate + "\", key: \"" + leaf.key +
            "\", allow_plain: true } }\n"
            "    - { name: ops, address: \"127.0.0.1:0\", serve: [metrics, health, admin] }\n");
        made.set("management", "{ token: " + kAdmin + " }");
        made.backend("good", backend.url(), R"(["gpt-*"])", keys);
        made.backend("refused", backend.url(), R"(["refused"])", through(egress));
        made.backend("talkative", backend.url(), R"(["talkative"])", through(talkative));
        made.backend("dead", "http://127.0.0.1:" + std::to_string(dead) + "/v1", R"(["dead"])",
                     keys);
        made.backend("untrusted", untrusted.url(), R"(["untrusted"])", keys);
        made.set("default_backend", "good");
        made.auth =
            "{ mode: token, static_tokens: [ { name: team-a, token: \"" + kToken + "\" } ] }";
        made.access_log_format = format;
        return made;
    }

    void expect_clean(const std::string& shown, const std::string& where) const
    {
        for (const auto& secret : secrets) {
            EXPECT_FALSE(has_text(shown, secret)) << where << " shows " << secret;
        }
    }

    TestCa ca;
    TestCa foreign{"foreign"};
    TestCa::Leaf leaf = ca.issue();
    TestCa::Leaf client_leaf = ca.issue("DNS:client");
    FakeBackend backend;
    FakeBackend egress;
    FakeBackend talkative;
    FakeBackend untrusted{{}, TestCa::server(foreign.issue())};
    std::uint16_t dead = dead_port();
    std::vector<std::string> secrets{kToken, kKey, kPassword, kHeader, kEgressBasic, kAdmin};
};

/// For a YAML text in double quotes.
std::string with_escaped_lines(const std::string& text)
{
    std::string out;
    for (const char c : text) {
        out += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return out;
}

class CanaryFormat : public Canary, public testing::WithParamInterface<const char*> {};

}  // namespace

TEST_P(CanaryFormat, ShowsInNothingTheDaemonSays)
{
    ProxyUnderTest proxy{config(GetParam())};
    const auto token = "Authorization: Bearer " + kToken + "\r\n";
    std::string answers;
    int asked = 0;
    const auto add = [&](const Response& reply) {
        answers += reply.head.raw + reply.body + reply.trailers;
        ++asked;
    };
    for (const auto* status :
         {"", "400", "401", "402", "403", "404", "429", "sse", "close", "garbage"}) {
        const auto field = std::string(*status == '\0' ? "" : "X-Status: ") + status;
        add(proxy.ask(chat("gpt-4o", std::string(status) == "sse",
                           token + (field.empty() ? "" : field + "\r\n"))));
    }
    for (const auto* model : {"refused", "talkative", "dead", "untrusted", "unknown"}) {
        add(proxy.ask(chat(model, false, token)));
    }
    add(proxy.ask(chat("gpt-4o", false, "x-api-key: " + kToken + "\r\n")));
    add(proxy.ask(chat("gpt-4o", false, "Authorization: Bearer " + kToken + "-wrong\r\n")));
    add(proxy.ask(chat("gpt-4o", false, "Authorization: Basic " + kToken + "\r\n")));
    add(proxy.ask(chat("gpt-4o", false, "Proxy-Authorization: Bearer " + kToken + "\r\n")));
    add(proxy.ask(get("/v1/files?api_key=" + kToken, token)));
    add(proxy.ask(get("/v1//x?api_key=" + kToken, token)));
    add(proxy.ask(get("/v1/models", token)));
    add(proxy.ask(post_json("/v1/chat/completions", "{\"model\":\"" + kToken, token)));
    add(proxy.ask(post_json("/v1/chat/completions", "{}", token + "Content-Encoding: gzip\r\n")));
    add(proxy.ask("GET /v1/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + token + "\r\n"));
    add(proxy.ask("GET /v1/x HTTP/1.1\r\nHost: a\r\n" + token + " folded: x\r\n\r\n"));
    TestClient secure(proxy.port(), ca.client(), "localhost");
    add(secure.ask(chat("gpt-4o", false, token)));
    TestClient distrusting(proxy.port(), foreign.client(), "localhost");
    EXPECT_FALSE(distrusting.tls_ok());

    // One chat, and the list of models asked of every backend.
    EXPECT_EQ(egress.request_count(), 2U);
    EXPECT_EQ(talkative.request_count(), 2U);
    expect_clean(proxy.metrics(), "the metrics page");
    expect_clean(answers, "an answer");
    const auto requests =
        proxy.ask(get("/manage/requests", "Authorization: Bearer " + kAdmin + "\r\n"), "ops");
    EXPECT_TRUE(has_text(requests.body, "upstream_tls_failed")) << requests.body;
    expect_clean(requests.body, "the list of requests");
    EXPECT_TRUE(has_text(answers, "you sent Bearer ***")) << "a masked echo";

    auto broken = config(GetParam());
    auto& tls_backend = broken.backends.back();
    tls_backend.replace(tls_backend.find(ca.certificate()), ca.certificate().size(), "/no/ca.crt");
    EXPECT_THROW(proxy.reload(broken), std::runtime_error);
    proxy.reload(config(GetParam()));
    proxy.drain();
    proxy.wait();
    const auto log = proxy.access_log();
    EXPECT_GE(std::count(log.begin(), log.end(), '\n'), asked);
    expect_clean(log, "the access log");
    expect_clean(proxy.diagnostics(), "the diagnostics");
    EXPECT_TRUE(has_text(proxy.diagnostics(), "reload failed"));
}

INSTANTIATE_TEST_SUITE_P(Format, CanaryFormat, testing::Values("json", "envoy"),
                         [](const auto& item) { return std::string(item.param); });

TEST_F(Canary, ShowsInNoOutputOfCheck)
{
    const TempDir dir;
    const auto path = dir.file("config.yaml");
    const auto check = [&](const std::string& yaml, int code) {
        write_file(path, yaml);
        std::ostringstream out;
        std::ostringstream err;
        EXPECT_EQ(llmproxy::cli::run_check(path, out, err), code) << err.str();
        expect_clean(out.str() + err.str(), "check");
        return out.str() + err.str();
    };
    const auto good = config("json").yaml(dir.path());
    EXPECT_TRUE(has_text(check(good, 0), "***"));

    // The same secrets, each in a place or form that is wrong.
    const auto wrong = [&](const std::string& from, const std::string& to) {
        auto text = good;
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        return text.replace(at, from.size(), to);
    };
    const auto one_line = "\"" + with_escaped_lines(read_file(leaf.key)) + "\"";
    for (const auto& text : {
             wrong("api_key: " + kKey, "api_key: \"" + kKey + " \""),
             wrong("api_key: " + kKey, "api_key: [" + kKey + "]"),
             wrong("api_key: " + kKey, "api_key: " + kKey + ", api_keys: [" + kKey + "]"),
             wrong("X-Secret: " + kHeader, "\"X Secret\": " + kHeader),
             wrong("X-Secret: " + kHeader, "X-Secret: [" + kHeader + "]"),
             wrong("http://canary-user:", "ftp://canary-user:"),
             wrong("@127.0.0.1:", "@:"),
             wrong("token: \"" + kToken + "\"", "token: \"" + kToken + " \""),
             wrong("token: \"" + kToken + "\"", "token: { is: \"" + kToken + "\" }"),
             wrong("name: team-a, token: \"" + kToken + "\" }",
                   "name: a, token: \"" + kToken + "\" }, { name: b, token: \"" + kToken + "\" }"),
             wrong("base_url: \"http://127",
                   "base_url: \"http://canary-user:" + kPassword + "@127"),
             wrong("\"" + leaf.key + "\"", one_line),
             wrong("\"" + leaf.certificate + "\"", one_line),
             wrong("\"" + client_leaf.key + "\"", "\"" + ca.certificate() + "\""),
         }) {
        check(text, 1);
    }
}
