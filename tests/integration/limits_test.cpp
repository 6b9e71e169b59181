// Limits of connections and heads, and the operator's endpoints.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class Limits : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
};

}  // namespace

TEST_F(Limits, HeadsTooLargeAre431)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).set("limits", "{ max_header_bytes: 4KiB }")};
    std::string many;
    for (int i = 0; i < 600; ++i) {
        many += "X-" + std::to_string(i) + ": v\r\n";
    }
    for (const auto& fields : {"X-Big: " + std::string(5000, 'x') + "\r\n", many}) {
        auto client = proxy.connect();
        const auto reply = client.ask(chat("m", false, fields));
        EXPECT_EQ(reply.status, 431);
        EXPECT_EQ(error_code(reply), "headers_too_large");
        EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    }
    EXPECT_EQ(proxy.ask(get("/v1/" + std::string(8000, 'p'))).status, 431);
    EXPECT_EQ(proxy.ask(chat("m", false, "X-Fine: " + std::string(3000, 'x') + "\r\n")).status,
              200);
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(Limits, HoldsAsManyConnectionsAsConfigured)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("max_connections", "3")};
    std::vector<TestClient> held;
    for (int i = 0; i < 3; ++i) {
        held.push_back(proxy.connect());
        EXPECT_EQ(held.back().ask(chat()).status, 200) << i;
    }
    for (auto& client : held) {
        EXPECT_EQ(client.ask(chat()).status, 200) << "nobody else is waiting, so nobody need go";
    }
}

TEST_F(Limits, ConnectionsBeyondTheCapWaitForBusyOnes)
{
    Gate gate;
    backend.always([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("max_connections", "2")};
    std::vector<TestClient> busy;
    for (int i = 0; i < 2; ++i) {
        busy.push_back(proxy.connect());
        busy.back().send(chat("m", false, "Connection: close\r\n"));
        ASSERT_TRUE(backend.wait_requests(static_cast<std::size_t>(i) + 1));
    }
    auto late = proxy.connect();
    late.send(chat());
    EXPECT_FALSE(late.anything(std::chrono::milliseconds(150)));
    EXPECT_EQ(backend.request_count(), 2U);
    gate.open(3);
    for (auto& client : busy) {
        EXPECT_EQ(client.response().status, 200);
    }
    EXPECT_EQ(late.response().status, 200);
}

TEST_F(Limits, IdleConnectionsMakeRoomForNewOnes)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("max_connections", "4")};
    std::vector<TestClient> idle;
    for (int i = 0; i < 12; ++i) {
        idle.push_back(proxy.connect());
        EXPECT_EQ(idle.back().ask(chat()).status, 200) << i;
    }
}

TEST_F(Limits, SlowHeadsHinderNobody)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).set("limits", "{ header_timeout: 2s }")};
    std::vector<TestClient> slow;
    for (int i = 0; i < 200; ++i) {
        slow.push_back(proxy.connect());
        slow.back().send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    }
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(proxy.ask(chat()).status, 200);
    }
    for (auto& client : slow) {
        const auto reply = client.response();
        EXPECT_TRUE(reply.status == 408 || reply.status == 0) << reply.status;
    }
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(Limits, IdleConnectionsHinderNobody)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    std::vector<TestClient> idle;
    for (int i = 0; i < 400; ++i) {
        idle.push_back(proxy.connect());
    }
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(idle.front().ask(chat()).status, 200);
    EXPECT_EQ(idle.back().ask(chat()).status, 200);
}

TEST_F(Limits, BytesThatAreNotHttpHurtNobody)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    std::vector<std::string> junks;
    junks.emplace_back("\x16\x03\x01\x00\x05hello", 10);
    junks.emplace_back("\0\0\0\0", 4);
    junks.emplace_back("\r\n\r\n\r\n\r\n");
    junks.emplace_back("GET\r\n\r\n");
    junks.emplace_back(100, '\xff').append("\r\n\r\n");
    for (const auto& junk : junks) {
        auto client = proxy.connect();
        client.send(junk);
        client.wire().half_close();
        EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    }
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(Limits, RolesOfListenersAreKept)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    EXPECT_EQ(proxy.ask(get("/metrics")).status, 404);
    EXPECT_EQ(proxy.ask(chat(), "ops").status, 404);
    EXPECT_EQ(proxy.ask(get("/metrics"), "ops").status, 200);
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(Limits, HealthAnswersOnItsPaths)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    for (const auto* path : {"/healthz", "/livez", "/readyz"}) {
        EXPECT_EQ(proxy.ask(get(path)).status, 200) << path;
        const auto head = proxy.ask("HEAD " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n\r\n");
        EXPECT_EQ(head.status, 200);
    }
    EXPECT_EQ(proxy.ask("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status,
              405);
}

TEST_F(Limits, MetricsCountRequests)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    const auto first = proxy.ask(chat());
    ASSERT_TRUE(proxy.access_line(first).is_object());
    const auto reply = proxy.ask(get("/metrics"), "ops");
    EXPECT_TRUE(reply.head["content-type"].starts_with("text/plain"));
    EXPECT_TRUE(has_text(reply.body, "# TYPE llmproxy_requests_total counter")) << reply.body;
    // Names of models come from requests, so that only those count that a backend answered for.
    EXPECT_TRUE(has_text(reply.body, R"(gen_ai_request_model="gpt-4o")"));
    backend.always([](Exchange& exchange) { exchange.json(R"({"error":{}})", 404); });
    const auto refused = proxy.ask(chat("made-up"));
    ASSERT_TRUE(proxy.access_line(refused).is_object());
    const auto page = proxy.ask(get("/metrics"), "ops").body;
    EXPECT_FALSE(has_text(page, "made-up"));
    EXPECT_TRUE(has_text(page, R"(gen_ai_request_model="other")"));
}

TEST_F(Limits, MetricsAreCompressedForWhoAcceptsIt)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    const auto packed = proxy.ask(
        "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: deflate, gzip\r\n\r\n", "ops");
    EXPECT_EQ(packed.status, 200);
    EXPECT_EQ(packed.head["content-encoding"], "gzip");
    EXPECT_EQ(packed.body.substr(0, 2), "\x1f\x8b");
    const auto plain = proxy.ask(get("/metrics"), "ops");
    EXPECT_EQ(plain.head["content-encoding"], "");
    EXPECT_LT(packed.body.size(), plain.body.size() / 3);
}

TEST(IPv6, ListenersAnswer)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    ProxyUnderTest proxy{
        GatewayConfig(backend.url())
            .listen("    - { name: main, address: \"[::1]:0\", serve: [gateway] }\n")};
    TestClient client(proxy.port(), true);
    EXPECT_EQ(client.ask(chat()).status, 200);
}
