// While a connection to a backend is being made: clients that leave, deadlines, shutdown, and what is counted.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

/// Far longer than any test waits: an attempt that ends was ended.
const std::string kPatient = "{ connect_timeout: 1h, total_timeout: 1h }";

std::string local(std::uint16_t port, const std::string& scheme = "http")
{
    return scheme + "://127.0.0.1:" + std::to_string(port);
}

/// A client that sent a request which cannot go on, and how the access log tells its end.
class ConnectPhase : public testing::Test {
protected:
    static TestClient ask(ProxyUnderTest& proxy)
    {
        auto client = proxy.connect();
        client.send(chat("m", false, "X-Request-Id: gone-1\r\n"));
        return client;
    }

    /// How long the proxy took is recorded; that it did not wait for its own limits is what is required.
    static void expect_gone(ProxyUnderTest& proxy, TestTime left)
    {
        const auto line = proxy.access_line("gone-1");
        const auto took = std::chrono::steady_clock::now() - left;
        RecordProperty(
            "cancelled_after_ms",
            static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
        ASSERT_TRUE(line.is_object());
        EXPECT_EQ(line["status"], 499);
        EXPECT_EQ(line["outcome"], "client_gone");
    }

    /// The request must have come so far that a connection is being made.
    static void wait_for_active(ProxyUnderTest& proxy)
    {
        const auto until = std::chrono::steady_clock::now() + kGuard;
        while (proxy.metric("llmproxy_active_requests") < 2 &&  // the scrape is one itself
               std::chrono::steady_clock::now() < until) {}
    }
};

enum class Way { fin, reset };

class ConnectPhaseWay : public ConnectPhase, public testing::WithParamInterface<Way> {
protected:
    static TestTime leave(TestClient& client)
    {
        const auto now = std::chrono::steady_clock::now();
        GetParam() == Way::fin ? client.wire().close() : client.wire().reset();
        return now;
    }
};

}  // namespace

TEST_P(ConnectPhaseWay, LeavingEndsTheConnect)
{
    const SilentPort hole;
    ProxyUnderTest proxy{GatewayConfig(local(hole.port()) + "/v1").set("timeout", kPatient)};
    auto client = ask(proxy);
    wait_for_active(proxy);
    expect_gone(proxy, leave(client));
}

TEST_P(ConnectPhaseWay, LeavingEndsTheWaitForAName)
{
    Gate asked;
    Gate answer;
    ProxyUnderTest proxy{GatewayConfig("http://slow.test/v1").set("timeout", kPatient),
                         [&](const std::string&) {
                             asked.open();
                             answer.wait();
                             return llmproxy::net::LookupResult();
                         }};
    auto client = ask(proxy);
    ASSERT_TRUE(asked.wait());
    expect_gone(proxy, leave(client));
    answer.open();
}

TEST_P(ConnectPhaseWay, LeavingEndsTheTlsHandshake)
{
    FakeBackend unused;
    Faults silent;
    silent.black_hole = true;
    FaultGate hop(unused.port(), silent);
    ProxyUnderTest proxy{
        GatewayConfig(local(hop.port(), "https") + "/v1").set("timeout", kPatient)};
    auto client = ask(proxy);
    wait_for_active(proxy);
    expect_gone(proxy, leave(client));
}

TEST_P(ConnectPhaseWay, LeavingEndsTheTalkWithAnEgressProxy)
{
    Gate asked;
    FakeBackend egress([&](Exchange& exchange) {
        asked.open();
        exchange.stall();
    });
    ProxyUnderTest proxy{
        GatewayConfig("http://api.test/v1", "proxy: \"" + local(egress.port()) + "\"")
            .set("timeout", kPatient)};
    auto client = ask(proxy);
    ASSERT_TRUE(asked.wait());
    expect_gone(proxy, leave(client));
    EXPECT_TRUE(egress.wait_closed(0));
}

TEST_P(ConnectPhaseWay, LeavingEndsTheWaitInThePoolsQueue)
{
    FakeBackend backend([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy{GatewayConfig(backend.url())
                             .set("timeout", kPatient)
                             .set("limits", "{ queue_timeout: 1h }")
                             .set("pool", "{ max_connections_per_backend: 1 }")};
    auto first = proxy.connect();
    first.send(chat());
    ASSERT_TRUE(backend.wait_requests(1));
    auto client = ask(proxy);
    expect_gone(proxy, leave(client));
    EXPECT_EQ(backend.connection_count(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Way, ConnectPhaseWay, testing::Values(Way::fin, Way::reset),
                         [](const auto& item) { return item.param == Way::fin ? "Fin" : "Reset"; });

TEST_F(ConnectPhase, ModelListsAreNotWaitedForEither)
{
    const SilentPort hole;
    ProxyUnderTest proxy{GatewayConfig(local(hole.port()) + "/v1").set("timeout", kPatient)};
    auto client = proxy.connect();
    client.send(get("/v1/models", "X-Request-Id: gone-1\r\n"));
    wait_for_active(proxy);
    const auto left = std::chrono::steady_clock::now();
    client.wire().close();
    expect_gone(proxy, left);
}

TEST_F(ConnectPhase, TotalTimeoutEndsTheConnect)
{
    const SilentPort hole;
    ProxyUnderTest proxy{GatewayConfig(local(hole.port()) + "/v1")
                             .set("timeout", "{ connect_timeout: 1h, total_timeout: 150ms }")};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 504);
    EXPECT_EQ(error_code(reply), "upstream_timeout");
}

TEST_F(ConnectPhase, ConnectTimeoutIsAConnectFailure)
{
    const SilentPort hole;
    ProxyUnderTest proxy{
        GatewayConfig(local(hole.port()) + "/v1").set("timeout", "{ connect_timeout: 150ms }")};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(error_code(reply), "upstream_connect_failed");
}

TEST_F(ConnectPhase, IsNotCutShortByTheHeadersTimeout)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    const SilentPort first("127.0.0.79", backend.port());
    // The black hole costs 250 ms, more than a head may take.
    ProxyUnderTest proxy{
        GatewayConfig(backend.url("/v1", "two.test")).set("limits", "{ header_timeout: 100ms }"),
        [](const std::string&) {
            llmproxy::net::LookupResult result;
            for (const auto* address : {"127.0.0.79", "127.0.0.1"}) {
                result.addresses.push_back(boost::asio::ip::make_address(address));
            }
            return result;
        }};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(ConnectPhase, QueuesAreNotCutShortByTheHeadersTimeout)
{
    Gate gate;
    FakeBackend backend([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    for (const auto* pool : {"{ max_connections_per_backend: 1 }", "{}"}) {
        const bool in_pool = std::string(pool) != "{}";
        ProxyUnderTest proxy{
            GatewayConfig(backend.url())
                .set("limits", std::string("{ header_timeout: 100ms, queue_timeout: 1h") +
                                   (in_pool ? " }" : ", max_concurrent_requests: 1 }"))
                .set("pool", pool)};
        const auto before = backend.request_count();
        auto first = proxy.connect();
        first.send(chat());
        ASSERT_TRUE(backend.wait_requests(before + 1));
        auto second = proxy.connect();
        second.send(chat());
        EXPECT_FALSE(second.anything(std::chrono::milliseconds(300))) << pool;
        gate.open(2);
        EXPECT_EQ(first.response().status, 200);
        EXPECT_EQ(second.response().status, 200) << pool;
    }
}

TEST_F(ConnectPhase, ShutdownEndsTheConnect)
{
    const SilentPort hole;
    ProxyUnderTest proxy{GatewayConfig(local(hole.port()) + "/v1").set("timeout", kPatient)};
    auto client = ask(proxy);
    wait_for_active(proxy);
    proxy.stop_now();
    EXPECT_EQ(proxy.wait(), 3);
}

TEST_F(ConnectPhase, ConnectsAndReusesAreCounted)
{
    FakeBackend good([](Exchange& exchange) { exchange.json("{}"); });
    TestCa foreign;
    FakeBackend untrusted({}, TestCa::server(foreign.issue()));
    GatewayConfig config;
    config.backend("good", good.url(), R"(["good"])");
    config.backend("dead", local(dead_port()) + "/v1", R"(["dead"])");
    config.backend("untrusted", untrusted.url(), R"(["untrusted"])");
    config.backend("mocked", "mock", R"(["mock-gpt"])");
    ProxyUnderTest proxy{config};
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(proxy.ask(chat("good")).status, 200);
        EXPECT_EQ(proxy.ask(chat("mock-gpt")).status, 200);
    }
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(error_code(proxy.ask(chat("dead"))), "upstream_connect_failed");
    }
    EXPECT_EQ(error_code(proxy.ask(chat("untrusted"))), "upstream_tls_failed");
    const auto connects = [&](const std::string& backend, const std::string& result) {
        return proxy.metric("llmproxy_upstream_connects_total{backend=\"" + backend +
                            "\",result=\"" + result + "\"}");
    };
    const auto reuses = [&](const std::string& backend) {
        return proxy.metric("llmproxy_upstream_reuses_total{backend=\"" + backend + "\"}");
    };
    EXPECT_EQ(connects("good", "ok"), 1);
    EXPECT_EQ(reuses("good"), 2);
    EXPECT_EQ(connects("mocked", "ok"), 1);
    EXPECT_EQ(reuses("mocked"), 2);
    EXPECT_EQ(connects("dead", "upstream_connect_failed"), 2);
    EXPECT_EQ(connects("dead", "ok"), -1);
    EXPECT_EQ(reuses("dead"), -1);
    EXPECT_EQ(connects("untrusted", "upstream_tls_failed"), 1);
}
