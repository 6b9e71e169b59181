// Every wait has an end.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>
#include <poll.h>

using namespace llmproxy::test;

namespace {

GatewayConfig timeouts(std::uint16_t port, const std::string& keys)
{
    return GatewayConfig("http://127.0.0.1:" + std::to_string(port) + "/v1")
        .set("timeout", "{ " + keys + " }");
}

void expect_timeout(const Response& reply)
{
    EXPECT_EQ(reply.status, 504);
    EXPECT_EQ(error_code(reply), "upstream_timeout");
}

}  // namespace

TEST(Timeouts, OfTheUpstreamsHead)
{
    FakeBackend backend([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy{timeouts(backend.port(), "response_header_timeout: 100ms")};
    auto client = proxy.connect();
    expect_timeout(client.ask(chat()));
    EXPECT_TRUE(backend.wait_closed(0));
    backend.always([](Exchange& exchange) { exchange.json("{}"); });
    EXPECT_EQ(client.ask(chat()).status, 200);
}

TEST(Timeouts, OfAllBeforeTheFirstByte)
{
    FakeBackend backend([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy{timeouts(backend.port(), "total_timeout: 100ms")};
    expect_timeout(proxy.ask(chat()));
}

TEST(Timeouts, OfASilentStream)
{
    FakeBackend backend([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.stall();
    });
    ProxyUnderTest proxy{timeouts(backend.port(), "stream_idle_timeout: 100ms")};
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.cut());
    EXPECT_TRUE(reply.body.starts_with("data: 1\n\ndata: {\"error\":")) << reply.body;
    EXPECT_TRUE(backend.wait_closed(0));
    EXPECT_EQ(proxy.access_line(reply)["outcome"], "upstream_timeout");
}

TEST(Timeouts, NotOfALongStreamThatGoesOn)
{
    FakeBackend backend([&](Exchange& exchange) {
        exchange.begin_sse();
        for (int i = 0; i < 10 && exchange.piece("data: x\n\n"); ++i) {
            Gate never;
            pollfd item{never.fd(), POLLIN, 0};
            ::poll(&item, 1,
                   40);  // 10 x 40 ms are longer than total_timeout, each shorter than idle
        }
        exchange.piece("data: [DONE]\n\n");
        exchange.last();
    });
    ProxyUnderTest proxy{timeouts(backend.port(), "stream_idle_timeout: 5s, total_timeout: 200ms")};
    EXPECT_TRUE(proxy.ask(chat("m", true)).complete());
}

TEST(Timeouts, OfConnecting)
{
    const SilentPort silent;
    ProxyUnderTest proxy{timeouts(silent.port(), "connect_timeout: 100ms")};
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.status == 502 || reply.status == 504) << reply.status;
    EXPECT_TRUE(error_code(reply) == "upstream_connect_failed" ||
                error_code(reply) == "upstream_timeout");
}

TEST(Timeouts, OfATlsHandshakeCountAsConnecting)
{
    FakeBackend backend;
    FaultGate hop(backend.port(), Faults{.black_hole = true});
    ProxyUnderTest proxy{GatewayConfig("https://127.0.0.1:" + std::to_string(hop.port()) + "/v1")
                             .set("timeout", "{ connect_timeout: 100ms }")};
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.status == 502 || reply.status == 504) << reply.status;
}

TEST(Timeouts, RefusedConnectionsAre502AtOnce)
{
    ProxyUnderTest proxy{timeouts(dead_port(), "connect_timeout: 20s")};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(error_code(reply), "upstream_connect_failed");
}

TEST(Timeouts, OfASlowHead)
{
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url()).set("limits", "{ header_timeout: 100ms }")};
    auto client = proxy.connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost:");
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 408);
    EXPECT_EQ(error_code(reply), "request_timeout");
    EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
}

TEST(Timeouts, OfIdleClientsAreSilent)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    ProxyUnderTest proxy{
        GatewayConfig(backend.url()).set("limits", "{ keepalive_timeout: 100ms }")};
    auto client = proxy.connect();
    EXPECT_EQ(client.ask(chat()).status, 200);
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), "");
}

TEST(Timeouts, OfAClientThatReadsNothing)
{
    const auto piece = "data: " + std::string(65'536, 'x') + "\n\n";
    FakeBackend backend([&](Exchange& exchange) {
        exchange.begin_sse();
        while (exchange.piece(piece)) {}
    });
    ProxyUnderTest proxy{timeouts(backend.port(), "write_timeout: 200ms")};
    auto client = proxy.connect();
    client.send(chat("m", true));
    EXPECT_TRUE(backend.wait_closed(0))
        << "a client that takes nothing holds its upstream for ever";
}
