// /v1/realtime becomes a tunnel after the upstream's 101 (RFC 9110, section 7.8; RFC 6455, section 4).

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kUpgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Accept: abc\r\n\r\n";

std::string upgrade_request(const std::string& more = {})
{
    return get(
        "/v1/realtime?model=gpt-rt",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
            more);
}

class WebSocketRelay : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) {
        exchange.raw(kUpgrade);
        std::string bytes;
        while (exchange.read_raw(bytes) && exchange.raw(bytes)) {
            bytes.clear();
        }
    }};
    ProxyUnderTest proxy{GatewayConfig(backend.url(), "api_key: sk-own")};
};

}  // namespace

TEST_F(WebSocketRelay, EchoesBytesBothWays)
{
    auto client = proxy.connect();
    client.send(upgrade_request() + "early");
    const auto reply = client.head();
    ASSERT_EQ(reply.status, 101);
    EXPECT_EQ(reply.head["sec-websocket-accept"], "abc");
    EXPECT_TRUE(same_text(reply.head["upgrade"], "websocket"));
    EXPECT_TRUE(same_text(reply.head["connection"], "upgrade"));
    const auto seen = backend.last_request().head;
    EXPECT_EQ(seen.word(1), "/v1/realtime?model=gpt-rt");
    EXPECT_TRUE(same_text(seen["upgrade"], "websocket"));
    EXPECT_TRUE(same_text(seen["connection"], "upgrade"));
    EXPECT_EQ(seen["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    EXPECT_EQ(seen["authorization"], "Bearer sk-own");
    const std::string binary("\x82\x05\x00\xff\r\n\r\n0", 9);
    client.send(binary);
    EXPECT_TRUE(client.read_until([&](std::string_view got) { return got == "early" + binary; }));
}

TEST_F(WebSocketRelay, CarriesMuchData)
{
    auto client = proxy.connect();
    client.send(upgrade_request());
    ASSERT_EQ(client.head().status, 101);
    const std::string block(100'000, 'w');
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(client.send(block));
        ASSERT_TRUE(
            client.read_until([&](std::string_view got) { return got.size() == block.size(); }));
        EXPECT_TRUE(client.buffer() == block);
        client.buffer().clear();
    }
}

TEST_F(WebSocketRelay, StripsTheKeyFromTheSubprotocols)
{
    auto client = proxy.connect();
    client.send(upgrade_request("Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.canary, "
                                "openai-beta.realtime-v1\r\n"));
    ASSERT_EQ(client.head().status, 101);
    const auto head = backend.last_request().head;
    EXPECT_FALSE(has_text(head.raw, "canary"));
    EXPECT_TRUE(has_text(head["sec-websocket-protocol"], "realtime"));
    EXPECT_TRUE(has_text(head["sec-websocket-protocol"], "openai-beta.realtime-v1"));
}

TEST_F(WebSocketRelay, RelaysRefusals)
{
    backend.next([](Exchange& exchange) { exchange.json(R"({"error":{"code":"nope"}})", 403); });
    const auto reply = proxy.ask(upgrade_request());
    EXPECT_EQ(reply.status, 403);
    EXPECT_EQ(error_code(reply), "nope");
}

TEST_F(WebSocketRelay, PassesHalfClosesOn)
{
    backend.next([](Exchange& exchange) {
        exchange.raw(kUpgrade);
        std::string bytes;
        while (exchange.read_raw(bytes)) {}
        exchange.wire().send("got " + std::to_string(bytes.size()));
    });
    auto client = proxy.connect();
    client.send(upgrade_request());
    ASSERT_EQ(client.head().status, 101);
    client.send("12345");
    client.wire().half_close();
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), "got 5");
}

TEST_F(WebSocketRelay, EndsUpstreamWhenTheClientIsGone)
{
    auto client = proxy.connect();
    client.send(upgrade_request("X-Request-Id: ws-1\r\n"));
    ASSERT_EQ(client.head().status, 101);
    client.wire().reset();
    EXPECT_TRUE(backend.wait_closed(0));
    const auto line = proxy.access_line("ws-1");
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["status"], 101);
}

TEST_F(WebSocketRelay, EndsTheClientWhenUpstreamIsGone)
{
    backend.next([](Exchange& exchange) {
        exchange.raw(kUpgrade + "bye");
        exchange.close();
    });
    auto client = proxy.connect();
    client.send(upgrade_request());
    ASSERT_EQ(client.head().status, 101);
    EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    EXPECT_EQ(client.buffer(), "bye");
}
