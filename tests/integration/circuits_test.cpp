// What an operator does to circuits, seen from outside.

#include "llmproxy/core/clock.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

using namespace llmproxy::test;
using namespace std::chrono_literals;
namespace core = llmproxy::core;
using llmproxy::policy::CircuitOrder;

namespace {

class OperatorCircuit : public testing::Test {
protected:
    GatewayConfig config(const std::string& more = {})
    {
        GatewayConfig made(backend.url(), more);
        made.set("fallback", "{ max_retries: 0, circuit_failure_threshold: 2 }");
        return made;
    }
    static bool shows(ProxyUnderTest& proxy, const std::string& words)
    {
        return has_text(proxy.ask(get("/readyz")).body, words);
    }

    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    FakeBackend other{[](Exchange& exchange) { exchange.json("{}"); }};
    std::shared_ptr<core::ManualClock> clock = std::make_shared<core::ManualClock>();
};

}  // namespace

TEST_F(OperatorCircuit, HeldOpenLetsNothingThroughUntilItIsReset)
{
    ProxyUnderTest proxy(config(), {}, clock);
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::open));
    const auto refused = proxy.ask(chat());
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(error_code(refused), "circuit_open");
    EXPECT_EQ(refused.head["Retry-After"], "300") << "the longest that a circuit is open";
    EXPECT_EQ(proxy.ask(get("/v1/files")).status, 503);
    EXPECT_EQ(proxy.ask(get("/readyz")).body, "no usable backend\nb1: open, held by an operator\n");
    clock->advance(24h);
    EXPECT_EQ(proxy.ask(chat()).status, 503) << "no probe";
    EXPECT_EQ(backend.request_count(), 0U);

    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::reset));
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_TRUE(shows(proxy, "b1: closed\n"));
    llmproxy::telemetry::flush_logs();
    EXPECT_TRUE(has_text(proxy.diagnostics(), R"("backend":"b1","order":"open","was":"closed")"));
}

TEST_F(OperatorCircuit, HeldClosedIsOpenedByNoFailure)
{
    ProxyUnderTest proxy(config(), {}, clock);
    backend.always([](Exchange& exchange) { exchange.json("{}", 500); });
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::close));
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(proxy.ask(chat()).status, 500);
    }
    EXPECT_TRUE(shows(proxy, "b1: closed, held by an operator\n"));
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::reset));
    EXPECT_EQ(proxy.ask(chat()).status, 500);
    EXPECT_EQ(proxy.ask(chat()).status, 500);
    EXPECT_EQ(error_code(proxy.ask(chat())), "circuit_open");
}

TEST_F(OperatorCircuit, ResetClosesOneThatFailuresHaveOpened)
{
    ProxyUnderTest proxy(config(), {}, clock);
    backend.next([](Exchange& exchange) { exchange.json("{}", 500); });
    backend.next([](Exchange& exchange) { exchange.json("{}", 500); });
    proxy.ask(chat());
    proxy.ask(chat());
    EXPECT_EQ(proxy.ask(chat()).status, 503);
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::reset));
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(OperatorCircuit, HoldSendsRequestsToTheOthers)
{
    auto two = config();
    two.backend("b2", other.url(), R"(["*"])", "priority: 1");
    ProxyUnderTest proxy(two, {}, clock);
    EXPECT_EQ(proxy.ask(chat()).head["x-llm-proxy-backend"], "b1");
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::open));
    EXPECT_EQ(proxy.ask(chat()).head["x-llm-proxy-backend"], "b2");
    EXPECT_EQ(proxy.ask(get("/readyz")).status, 200);
}

TEST_F(OperatorCircuit, HoldStaysOverReloads)
{
    ProxyUnderTest proxy(config(), {}, clock);
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::open));
    proxy.reload(config("weight: 2"));
    EXPECT_EQ(error_code(proxy.ask(chat())), "circuit_open");
    GatewayConfig moved(other.url());
    proxy.reload(moved);
    EXPECT_TRUE(shows(proxy, "b1: open, held by an operator\n")) << "also at another address";
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::close));
    proxy.reload(config("weight: 3"));
    EXPECT_TRUE(shows(proxy, "b1: closed, held by an operator\n"));
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::reset));
    proxy.reload(config("weight: 4"));
    EXPECT_TRUE(shows(proxy, "b1: closed\n"));
}

TEST_F(OperatorCircuit, CircuitOfABackendThatStaysWhereItIsStaysOpenOverAReload)
{
    ProxyUnderTest proxy(config(), {}, clock);
    backend.next([](Exchange& exchange) { exchange.json("{}", 500); });
    backend.next([](Exchange& exchange) { exchange.json("{}", 500); });
    proxy.ask(chat());
    proxy.ask(chat());
    proxy.reload(config("weight: 2"));
    EXPECT_EQ(error_code(proxy.ask(chat())), "circuit_open");
    GatewayConfig moved(other.url());
    moved.set("fallback", "{ max_retries: 0, circuit_failure_threshold: 2 }");
    proxy.reload(moved);
    EXPECT_EQ(proxy.ask(chat()).status, 200) << "another address is another backend";
}

TEST_F(OperatorCircuit, WaitingRetryIsNotSentToACircuitThatIsHeldOpen)
{
    GatewayConfig patient(backend.url());
    patient.set("fallback", "{ backoff_initial_delay: 1s, backoff_jitter: 0 }");
    ProxyUnderTest proxy(patient, {}, clock);
    backend.always([](Exchange& exchange) { exchange.reply(503, "{}", "Connection: close\r\n"); });
    auto client = proxy.connect();
    client.send(chat());
    ASSERT_TRUE(backend.wait_closed(0)) << "the proxy has the reply and waits";
    ASSERT_TRUE(proxy.order_circuit("b1", CircuitOrder::open));
    EXPECT_EQ(client.response().status, 503) << "the backend's own answer";
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(OperatorCircuit, BackendThatIsNotThereIsRefused)
{
    ProxyUnderTest proxy(config());
    EXPECT_FALSE(proxy.order_circuit("b9", CircuitOrder::open));
    EXPECT_FALSE(proxy.order_circuit("", CircuitOrder::reset));
}

TEST_F(OperatorCircuit, OrdersUnderLoadLoseNoRequest)
{
    auto two = config();
    two.backend("b2", other.url());
    ProxyUnderTest proxy(two);
    std::atomic<bool> done{false};
    std::thread boss([&] {
        for (int i = 0; i < 300 && !done; ++i) {
            for (const auto order :
                 {CircuitOrder::open, CircuitOrder::close, CircuitOrder::reset}) {
                proxy.order_circuit("b1", order);
            }
        }
    });
    std::atomic<int> failed{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
        clients.emplace_back([&] {
            auto client = proxy.connect();
            for (int n = 0; n < 50; ++n) {
                failed += client.ask(chat()).status == 200 ? 0 : 1;
            }
        });
    }
    for (auto& one : clients) {
        one.join();
    }
    done = true;
    boss.join();
    EXPECT_EQ(failed, 0);
}
