// What users' tools depend on, word for word: access log lines, error answers, the metrics page.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/golden.hpp"
#include "support/proxy_under_test.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <sstream>

using namespace llmproxy::test;

namespace {

const std::string kAgent = "User-Agent: golden \"agent\"/1\r\n";

std::string id(const std::string& text)
{
    return "X-Request-Id: " + text + "\r\n";
}

/// Backends of every kind of answer, told apart by model name.
class Golden : public testing::Test {
protected:
    Golden()
    {
        backend.always([](Exchange& exchange) {
            if (has_text(exchange.request().body, "\"stream\":true")) {
                exchange.begin_sse();
                exchange.piece("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
                exchange.piece("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                               "\"completion_tokens\":4,\"prompt_tokens_details\":"
                               "{\"cached_tokens\":1},\"completion_tokens_details\":"
                               "{\"reasoning_tokens\":2}}}\n\n");
                exchange.piece("data: [DONE]\n\n");
                exchange.last();
            } else {
                exchange.json(R"({"usage":{"prompt_tokens":3,"completion_tokens":4}})");
            }
        });
    }

    [[nodiscard]] GatewayConfig config() const
    {
        GatewayConfig made;
        made.backend("good", backend.url(), R"(["gpt-*"])", "api_key: sk-golden");
        made.backend("dead", "http://127.0.0.1:" + std::to_string(dead) + "/v1", R"(["dead"])");
        made.set("default_backend", "good");
        made.auth = "{ mode: token, static_tokens: [ { name: team-a, token: golden-token } ] }";
        return made;
    }

    static std::string with_token(const std::string& more = {})
    {
        return "Authorization: Bearer golden-token\r\n" + kAgent + more;
    }

    /// The requests that the access log's files show.
    void ask_all(const ProxyUnderTest& proxy)
    {
        proxy.ask(chat("gpt-4o", false, with_token(id("json"))));
        proxy.ask(
            chat("gpt-4o", true, with_token(id("stream") + "X-Forwarded-For: 192.0.2.1\r\n")));
        proxy.ask(get("/v1/files/f-1?purpose=x", with_token(id("other"))));
        proxy.ask(chat("gpt-4o", false, id("no-token")));
        proxy.ask(chat("none", false, with_token(id("no-model"))));
        proxy.ask(chat("dead", false, with_token(id("dead"))));
        proxy.ask(get("/nothing", id("nothing")));
        proxy.ask(get("/healthz", id("health")));
        auto refused = proxy.connect();
        refused.ask("NOT HTTP\r\n\r\n");
    }

    [[nodiscard]] std::string without_ports(const std::string& text) const
    {
        auto out = with_replaced(text, "127\\.0\\.0\\.1:\\d+", "127.0.0.1:PORT");
        return with_replaced(out, "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                             "<id>");
    }

    FakeBackend backend;
    std::uint16_t dead = dead_port();
};

constexpr std::size_t kLines = 9;

/// The access log's lines, sorted: each thread has a buffer of its own, so lines may change
/// places.
std::string sorted_lines(const std::string& text)
{
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    EXPECT_EQ(lines.size(), kLines);
    std::sort(lines.begin(), lines.end());
    std::string sorted;
    for (const auto& line : lines) {
        sorted += line + "\n";
    }
    return sorted;
}

/// Drains first, so that every line is there.
std::string whole_log(ProxyUnderTest& proxy)
{
    proxy.drain();
    proxy.wait();
    return proxy.access_log();
}

}  // namespace

TEST_F(Golden, JsonAccessLog)
{
    ProxyUnderTest proxy{config()};
    ask_all(proxy);
    auto log = without_ports(whole_log(proxy));
    log = with_replaced(log, "\"time\":\"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z\"",
                        "\"time\":\"<time>\"");
    log = with_replaced(log, "_ms\":\\d+\\.\\d{3}", "_ms\":<ms>");
    expect_golden("access_log_json.txt", sorted_lines(log));
}

TEST_F(Golden, EnvoyAccessLog)
{
    auto made = config();
    made.access_log_format = "envoy";
    ProxyUnderTest proxy{made};
    ask_all(proxy);
    std::istringstream lines(without_ports(whole_log(proxy)));
    std::string log;
    for (std::string line; std::getline(lines, line);) {
        line = with_replaced(line, "^\\[\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z\\]",
                             "[<time>]");
        // method path protocol, status, flags, bytes in and out; then the two durations
        line =
            with_replaced(line, "^(\\[<time>\\] \"[^\"]*\" \\d+ \\S+ \\d+ \\d+) \\d+ ", "$1 <ms> ");
        line = with_replaced(line, "<ms> \\d+ \"", "<ms> <ms> \"");
        log += line + "\n";
    }
    expect_golden("access_log_envoy.txt", sorted_lines(log));
}

TEST_F(Golden, MetricsPage)
{
    ProxyUnderTest proxy{config()};
    ask_all(proxy);
    proxy.ask(chat("gpt-4o", false, with_token(id("again"))));
    // A record is closed after its answer was read: the log's last line says that all are.
    ASSERT_TRUE(proxy.access_line("again").is_object());
    proxy.reload(config());
    std::istringstream page(proxy.metrics());
    std::string shown;
    std::vector<std::string> samples;
    const auto finish_family = [&] {
        std::sort(samples.begin(), samples.end());
        for (const auto& sample : samples) {
            shown += sample + "\n";
        }
        samples.clear();
    };
    for (std::string line; std::getline(page, line);) {
        if (line.starts_with('#')) {
            if (line.starts_with("# HELP")) {
                finish_family();
            }
            shown += line + "\n";
        } else if (!line.empty()) {
            samples.push_back(line.substr(0, line.rfind(' ')));
        }
    }
    finish_family();
    expect_golden("metrics.txt",
                  with_replaced(shown, "version=\"[^\"]*\"", "version=\"<version>\""));
}

namespace {

/// Answers in the order they were asked for, as they stood on the wire.
class ErrorAnswers : public Golden {
protected:
    void add(const std::string& title, const Response& reply)
    {
        EXPECT_TRUE(reply.complete()) << title;
        shown_ += "== " + title + "\n" + with_replaced(reply.head.raw, "\r\n", "\n") + reply.body +
                  "\n\n";
    }
    [[nodiscard]] std::string shown() const
    {
        return with_replaced(without_ports(shown_), "proxy;dur=\\d+\\.\\d{3}", "proxy;dur=<ms>");
    }

    std::string shown_;
};

}  // namespace

TEST_F(ErrorAnswers, OfTheProxyItself)
{
    auto made = config();
    made.set("limits", "{ max_header_bytes: 4KiB, max_body_bytes: 1KiB, header_timeout: 300ms }");
    ProxyUnderTest proxy{made};
    const auto target = "/v1/chat/completions";
    add("malformed head", proxy.ask("NOT HTTP\r\n\r\n"));
    add("smuggling attempt", proxy.ask("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                                       "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"));
    add("malformed JSON", proxy.ask(post_json(target, "{\"model\":", with_token())));
    add("duplicate model",
        proxy.ask(post_json(target, R"({"model":"a","model":"b"})", with_token())));
    add("dot segments", proxy.ask(get("/v1/files/../x", with_token())));
    add("no token", proxy.ask(chat()));
    add("no such model", proxy.ask(chat("none", false, with_token())));
    add("nothing at this path", proxy.ask(get("/nothing")));
    add("wrong method", proxy.ask(get(target, with_token())));
    add("wrong method for health", proxy.ask(post_json("/healthz", "{}")));
    auto slow = proxy.connect();
    slow.send("GET /v1/models HTTP/1.1\r\n");
    add("head not in time", slow.response());
    add("body too large",
        proxy.ask(post_json(target, "{\"x\":\"" + std::string(2000, 'x') + "\"}", with_token())));
    add("encoded body", proxy.ask(chat("gpt-4o", false, with_token("Content-Encoding: gzip\r\n"))));
    add("head too large",
        proxy.ask(get("/v1/models", with_token("X-Big: " + std::string(5000, 'x') + "\r\n"))));
    proxy.ask(chat("gpt-4o", false, with_token()));
    const auto via = backend.last_request().head["via"];
    add("loop", proxy.ask(chat("gpt-4o", false, with_token("Via: " + via + "\r\n"))));
    expect_golden("errors_own.txt", shown());
}

TEST_F(ErrorAnswers, OfUpstreamsThatFail)
{
    TestCa foreign;
    FakeBackend untrusted({}, TestCa::server(foreign.issue()));
    auto made = config();
    made.backend("untrusted", untrusted.url(), R"(["untrusted"])");
    made.set("timeout", "{ response_header_timeout: 300ms }");
    ProxyUnderTest proxy{made};
    const auto ask = [&](FakeBackend::Script script) {
        backend.next(std::move(script));
        // Each script ends its connection, so the next request has a fresh one and no free retry.
        return proxy.ask(chat("gpt-4o", false, with_token()));
    };
    add("connect failed", proxy.ask(chat("dead", false, with_token())));
    add("TLS failed", proxy.ask(chat("untrusted", false, with_token())));
    add("closed before its answer", ask([](Exchange& exchange) { exchange.close(); }));
    add("not HTTP", ask([](Exchange& exchange) {
            exchange.raw("220 mail.test ESMTP\r\n\r\n");
            exchange.close();
        }));
    add("our key refused", ask([](Exchange& exchange) {
            exchange.reply(401, R"({"error":{"message":"bad key sk-golden"}})",
                           "Connection: close\r\n");
        }));
    add("no answer in time", ask([](Exchange& exchange) { exchange.stall(); }));
    expect_golden("errors_upstream.txt", shown());
}

TEST_F(ErrorAnswers, OfOverload)
{
    Gate gate;
    backend.always([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    auto made = config();
    made.set("limits",
             "{ max_concurrent_requests: 1, max_queued_requests: 1, queue_timeout: 100ms }");
    ProxyUnderTest proxy{made};
    auto busy = proxy.connect();
    busy.send(chat("gpt-4o", false, with_token()));
    ASSERT_TRUE(backend.wait_requests(1));
    add("queue timeout", proxy.ask(chat("gpt-4o", false, with_token())));
    gate.open();
    EXPECT_EQ(busy.response().status, 200);
    expect_golden("errors_overload.txt", shown());
}

TEST_F(ErrorAnswers, InsideStreams)
{
    ProxyUnderTest proxy{config()};
    const auto cut = [](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: {\"n\":1}\n\n");
        exchange.close();
    };
    backend.next(cut);
    const auto chat_reply = proxy.ask(chat("gpt-4o", true, with_token()));
    backend.next(cut);
    const auto responses = proxy.ask(post_json(
        "/v1/responses", R"({"model":"gpt-4o","stream":true,"input":"x"})", with_token()));
    EXPECT_TRUE(chat_reply.cut());
    EXPECT_TRUE(responses.cut());
    expect_golden("errors_stream.txt",
                  "== chat\n" + chat_reply.body + "== responses\n" + responses.body);
}
