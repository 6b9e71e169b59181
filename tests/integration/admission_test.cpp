// The gateway's ceiling: slots, the queue behind them, and the bytes of held bodies.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

/// A backend that answers each request when the gate is opened once more.
struct Held {
    Gate gate;
    FakeBackend backend{[this](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    }};

    /// A client whose request is at the backend, so that the only slot is taken.
    TestClient occupy(ProxyUnderTest& proxy, const std::string& request = chat())
    {
        auto client = proxy.connect();
        client.send(request);
        EXPECT_TRUE(backend.wait_requests(1));
        return client;
    }
};

GatewayConfig limits(const FakeBackend& backend, const std::string& keys)
{
    return GatewayConfig(backend.url()).set("limits", "{ " + keys + " }");
}

void expect_overloaded(const Response& reply)
{
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(error_code(reply), "overloaded");
    EXPECT_FALSE(reply.head["retry-after"].empty());
}

}  // namespace

TEST(Admission, QueuesBeyondTheCeiling)
{
    Held held;
    ProxyUnderTest proxy{limits(
        held.backend, "max_concurrent_requests: 1, max_queued_requests: 1, queue_timeout: 20s")};
    auto first = held.occupy(proxy);
    auto second = proxy.connect();
    second.send(chat());
    EXPECT_FALSE(second.anything(std::chrono::milliseconds(50)));
    expect_overloaded(proxy.ask(chat()));
    EXPECT_EQ(held.backend.request_count(), 1U);
    held.gate.open();
    EXPECT_EQ(first.response().status, 200);
    ASSERT_TRUE(held.backend.wait_requests(2));
    held.gate.open();
    EXPECT_EQ(second.response().status, 200);
}

TEST(Admission, GivesUpAfterTheQueueTimeout)
{
    Held held;
    ProxyUnderTest proxy{limits(
        held.backend, "max_concurrent_requests: 1, max_queued_requests: 9, queue_timeout: 50ms")};
    auto first = held.occupy(proxy);
    expect_overloaded(proxy.ask(chat()));
    held.gate.open();
    EXPECT_EQ(first.response().status, 200);
}

TEST(Admission, LetsHealthThroughWhenFull)
{
    Held held;
    ProxyUnderTest proxy{
        limits(held.backend, "max_concurrent_requests: 1, max_queued_requests: 0")};
    auto first = held.occupy(proxy);
    EXPECT_EQ(proxy.ask(get("/healthz")).status, 200);
    expect_overloaded(proxy.ask(chat()));
    held.gate.open();
    EXPECT_EQ(first.response().status, 200);
}

TEST(Admission, AClientThatLeavesTheQueueTakesNoSlot)
{
    Held held;
    ProxyUnderTest proxy{limits(
        held.backend, "max_concurrent_requests: 1, max_queued_requests: 1, queue_timeout: 20s")};
    auto first = held.occupy(proxy);
    {
        auto second = proxy.connect();
        second.send(chat("gpt", false, "X-Request-Id: left-queue\r\n"));
        EXPECT_FALSE(second.anything(std::chrono::milliseconds(50)));
    }
    EXPECT_EQ(proxy.access_line("left-queue")["status"], 499);
    held.gate.open(2);
    EXPECT_EQ(first.response().status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(held.backend.request_count(), 2U);
}

TEST(Admission, CapsTheBytesOfHeldBodies)
{
    Held held;
    ProxyUnderTest proxy{limits(held.backend, "max_body_bytes: 64KiB, max_buffered_bytes: 100KiB")};
    const auto big = post_json("/v1/chat/completions",
                               R"({"model":"m","x":")" + std::string(60'000, 'x') + "\"}");
    auto first = held.occupy(proxy, big);
    expect_overloaded(proxy.ask(big));
    held.gate.open(2);
    EXPECT_EQ(first.response().status, 200);
    EXPECT_EQ(proxy.ask(big).status, 200) << "the bytes are given back";
}
