// SIGTERM as the process does it, in one process.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class Drain : public testing::Test {
protected:
    Gate gate;
    FakeBackend backend{[this](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        if (exchange.wait(gate)) {
            exchange.piece("data: [DONE]\n\n");
            exchange.last();
        }
    }};

    static bool refused(std::uint16_t port)
    {
        try {
            TestClient client(port);
            return client.ask(get("/healthz")).status == 0;
        } catch (const std::system_error&) {
            return true;
        }
    }

    /// /readyz tells of the drain before the listeners are closed, so this may take a moment.
    static bool comes_to_be_refused(std::uint16_t port)
    {
        const auto until = std::chrono::steady_clock::now() + kGuard;
        while (!refused(port)) {
            if (std::chrono::steady_clock::now() > until) {
                return false;
            }
        }
        return true;
    }
};

}  // namespace

TEST_F(Drain, FinishesOpenStreamsWithinGrace)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "20s")};
    const auto port = proxy.port();
    std::vector<std::pair<TestClient, Response>> streams;
    for (int i = 0; i < 100; ++i) {
        auto client = proxy.connect();
        client.send(chat("m", true));
        auto reply = client.head();
        ASSERT_TRUE(client.piece(reply));
        streams.emplace_back(std::move(client), std::move(reply));
    }
    auto idle = proxy.connect();
    EXPECT_EQ(idle.ask(get("/healthz")).status, 200);
    EXPECT_EQ(proxy.ask(get("/readyz")).status, 200);
    proxy.drain();
    EXPECT_EQ(proxy.ask(get("/readyz"), "ops").status, 503);
    EXPECT_TRUE(comes_to_be_refused(port));
    const auto late = idle.ask(get("/healthz"));
    EXPECT_EQ(late.status, 200) << "an accepted connection is still served";
    EXPECT_TRUE(same_text(late.head["connection"], "close"));
    EXPECT_EQ(idle.read_to_end(), ReadEnd::fin);
    gate.open(100);
    for (auto& [client, reply] : streams) {
        client.finish(reply);
        EXPECT_TRUE(reply.complete());
        EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
    }
    EXPECT_EQ(proxy.wait(), 0);
}

TEST_F(Drain, EndsAtOnceWhenNothingIsOpen)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "600s")};
    proxy.drain();
    EXPECT_EQ(proxy.wait(), 0);
}

TEST_F(Drain, IsNotHeldUpByIdleConnections)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "600s")};
    auto idle = proxy.connect();
    EXPECT_EQ(idle.ask(get("/healthz")).status, 200);
    auto half = proxy.connect();
    half.send("GET /v1/");
    proxy.drain();
    EXPECT_EQ(proxy.wait(), 0);
    EXPECT_NE(idle.read_to_end(), ReadEnd::timeout);
}

TEST_F(Drain, CutsWhatIsOpenAfterTheTimeout)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "100ms")};
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    proxy.drain();
    EXPECT_EQ(proxy.wait(), 3);
    client.finish(reply);
    EXPECT_TRUE(reply.cut());
    EXPECT_FALSE(has_text(reply.body, "[DONE]"));
}

TEST_F(Drain, IsCutShortByASecondSignal)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "600s")};
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    proxy.drain();
    proxy.stop_now();
    EXPECT_EQ(proxy.wait(), 3);
    client.finish(reply);
    EXPECT_TRUE(reply.cut());
}

TEST_F(Drain, ServesRequestsOnAcceptedConnectionsWithClose)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("drain_timeout", "20s")};
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    client.send(get("/healthz"));  // pipelined behind the stream
    proxy.drain();
    EXPECT_EQ(proxy.ask(get("/readyz"), "ops").status, 503);
    gate.open();
    client.finish(reply);
    EXPECT_TRUE(reply.complete());
    const auto last = client.response();
    if (last.status != 0) {
        EXPECT_TRUE(same_text(last.head["connection"], "close"));
    }
    EXPECT_EQ(proxy.wait(), 0);
}
