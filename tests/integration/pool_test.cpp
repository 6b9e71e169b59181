// Connections to backends: reused while sound, never after an unclean end.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class UpstreamPool : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
};

}  // namespace

TEST_F(UpstreamPool, ReusesConnectionsAcrossClients)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(proxy.ask(chat()).status, 200);
    }
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(UpstreamPool, DiscardsConnectionClosedWhileIdle)
{
    FaultGate hop(backend.port());
    ProxyUnderTest proxy{GatewayConfig("http://127.0.0.1:" + std::to_string(hop.port()) + "/v1")};
    for (const bool with_reset : {false, true}) {
        EXPECT_EQ(proxy.ask(chat()).status, 200);
        hop.cut_all(with_reset);
        ASSERT_TRUE(backend.wait_closed(backend.connection_count() - 1));
        const auto reply = proxy.ask(chat());
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "1") << "the free retry does not count";
    }
}

TEST_F(UpstreamPool, RetriesForFreeWhenAPooledConnectionDiesUnderTheRequest)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    backend.next([](Exchange& exchange) { exchange.close(); });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "1");
    EXPECT_EQ(backend.connection_count(), 2U);
    EXPECT_EQ(backend.request_count(), 3U);
}

TEST_F(UpstreamPool, RetriesForFreeOnPooledConnectionsOnly)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    backend.next([](Exchange& exchange) { exchange.close(); });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(error_code(reply), "upstream_reset");
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(UpstreamPool, NeverReusesAfterConnectionClose)
{
    backend.always([](Exchange& exchange) { exchange.reply(200, "{}", "Connection: close\r\n"); });
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamPool, NeverReusesHttp10)
{
    backend.always(
        [](Exchange& exchange) { exchange.raw("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"); });
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamPool, NeverReusesAfterAClientLeft)
{
    backend.next([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.stall();
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    {
        auto client = proxy.connect();
        client.send(chat("m", true));
        auto reply = client.head();
        ASSERT_TRUE(client.piece(reply));
    }
    ASSERT_TRUE(backend.wait_closed(0));
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamPool, ClosesIdleConnections)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).set("pool", "{ idle_timeout: 100ms }")};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_TRUE(backend.wait_closed(0));
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamPool, QueuesAtItsCap)
{
    Gate gate;
    backend.always([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    ProxyUnderTest proxy{
        GatewayConfig(backend.url()).set("pool", "{ max_connections_per_backend: 1 }")};
    auto first = proxy.connect();
    first.send(chat());
    ASSERT_TRUE(backend.wait_requests(1));
    auto second = proxy.connect();
    second.send(chat());
    EXPECT_FALSE(second.anything(std::chrono::milliseconds(50)));
    EXPECT_EQ(backend.connection_count(), 1U);
    gate.open(2);
    EXPECT_EQ(first.response().status, 200);
    EXPECT_EQ(second.response().status, 200);
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(UpstreamPool, AtItsCapGivesUpAfterTheQueueTimeout)
{
    Gate gate;
    backend.always([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url())
                             .set("pool", "{ max_connections_per_backend: 1 }")
                             .set("limits", "{ queue_timeout: 50ms }")};
    auto first = proxy.connect();
    first.send(chat());
    ASSERT_TRUE(backend.wait_requests(1));
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(error_code(reply), "overloaded");
    gate.open();
    EXPECT_EQ(first.response().status, 200);
}
