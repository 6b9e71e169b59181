// A client that goes away cancels upstream within a second.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

/// Fails only tests of a proxy that never cancels; how long it took is recorded.
constexpr std::chrono::seconds kLimit{5};

class ClientDisconnect : public testing::Test {
protected:
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url())};

    void expect_cancelled(std::size_t connection, TestTime left)
    {
        const auto closed = backend.wait_closed(connection, kLimit);
        ASSERT_TRUE(closed) << "upstream was not cancelled";
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(*closed - left);
        RecordProperty("cancelled_after_ms", static_cast<int>(took.count()));
        EXPECT_LT(took, kLimit);
    }
};

enum class Way { fin, reset, fin_behind_pipelined_bytes, half_close };

class ClientDisconnectWay : public ClientDisconnect, public testing::WithParamInterface<Way> {};

void leave(TestClient& client, Way way)
{
    switch (way) {
    case Way::fin: client.wire().close(); break;
    case Way::reset: client.wire().reset(); break;
    case Way::fin_behind_pipelined_bytes:
        client.send(get("/v1/next"));
        client.wire().close();
        break;
    case Way::half_close: client.wire().half_close(); break;
    }
}

std::string way_name(const testing::TestParamInfo<Way>& item)
{
    static const std::vector<std::string> kNames{"Fin", "Reset", "FinBehindBytes", "HalfClose"};
    return kNames[static_cast<std::size_t>(item.param)];
}

}  // namespace

TEST_P(ClientDisconnectWay, CancelsAStream)
{
    backend.next([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.stall();
    });
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    const auto left = std::chrono::steady_clock::now();
    leave(client, GetParam());
    expect_cancelled(0, left);
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["outcome"], "client_gone");
    EXPECT_EQ(backend.request_count(), 1U) << "a pipelined request of a client that left";
}

TEST_P(ClientDisconnectWay, CancelsARequestWithoutReply)
{
    Gate asked;
    backend.next([&](Exchange& exchange) {
        asked.open();
        exchange.stall();
    });
    auto client = proxy.connect();
    client.send(chat("m", false, "X-Request-Id: gone-1\r\n"));
    ASSERT_TRUE(asked.wait());
    const auto left = std::chrono::steady_clock::now();
    leave(client, GetParam());
    expect_cancelled(0, left);
    const auto line = proxy.access_line("gone-1");
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["status"], 499);
    EXPECT_EQ(line["outcome"], "client_gone");
}

INSTANTIATE_TEST_SUITE_P(Way, ClientDisconnectWay,
                         testing::Values(Way::fin, Way::reset, Way::fin_behind_pipelined_bytes,
                                         Way::half_close),
                         way_name);

TEST_F(ClientDisconnect, CancelsARunningFloodOfEvents)
{
    backend.next([](Exchange& exchange) {
        exchange.begin_sse();
        while (exchange.piece("data: " + std::string(4000, 'x') + "\n\n")) {}
    });
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    const auto left = std::chrono::steady_clock::now();
    client.wire().reset();
    expect_cancelled(0, left);
}

TEST_F(ClientDisconnect, AfterTheTerminalEventIsComplete)
{
    Gate gone;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.piece("data: [DONE]\n\n");
        exchange.wait(gone);
        exchange.last();
    });
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    while (!has_text(reply.body, "[DONE]") && client.piece(reply)) {}
    client.wire().close();
    gone.open();
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["outcome"], "ok");
    EXPECT_EQ(line["status"], 200);
}

TEST_F(ClientDisconnect, DuringItsUploadEndsTheUpstreamsRequest)
{
    Gate asked;
    backend.leave_bodies(true);
    backend.next([&](Exchange& exchange) {
        asked.open();
        exchange.read_body();
    });
    auto client = proxy.connect();
    client.send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
    ASSERT_TRUE(asked.wait());
    const auto left = std::chrono::steady_clock::now();
    client.wire().reset();
    expect_cancelled(0, left);
    EXPECT_FALSE(backend.last_request().whole);
}
