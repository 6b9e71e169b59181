// Active health checks over real sockets: who gets requests, what is shown, and that checks end with their configuration.

#include "llmproxy/telemetry/log.hpp"
#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

using namespace llmproxy::test;

namespace {

constexpr auto kCheck = "health_check: { path: /health, interval: 10ms, timeout: 5s, "
                        "unhealthy_threshold: 2, healthy_threshold: 2 }";

/// A backend that answers requests always and checks by a status of the test's choice.
class Checked {
public:
    Checked()
    {
        backend_.always([status = status_, checks = checks_](Exchange& exchange) {
            const auto& head = exchange.request().head;
            if (head.word(1) != "/health") {
                exchange.json("{}");
                return;
            }
            exchange.reply(*status, "checked");
            ++*checks;
        });
    }

    [[nodiscard]] std::string url() const { return backend_.url(); }
    [[nodiscard]] FakeBackend& fake() noexcept { return backend_; }
    void answer_checks_by(int status) { *status_ = status; }
    [[nodiscard]] std::size_t checks() const noexcept { return *checks_; }
    /// Requests that were no checks.
    [[nodiscard]] std::size_t served() const { return backend_.request_count() - checks(); }

    /// Looks at `/readyz` after each further check until it says `words`; what it said last.
    std::string wait_ready_says(ProxyUnderTest& proxy, const std::string& words)
    {
        const auto until = std::chrono::steady_clock::now() + kGuard;
        auto text = proxy.ask(get("/readyz")).body;
        while (!has_text(text, words) && std::chrono::steady_clock::now() < until) {
            backend_.wait_requests(backend_.request_count() + 1);
            text = proxy.ask(get("/readyz")).body;
        }
        return text;
    }

private:
    std::shared_ptr<std::atomic<int>> status_ = std::make_shared<std::atomic<int>>(200);
    std::shared_ptr<std::atomic<std::size_t>> checks_ =
        std::make_shared<std::atomic<std::size_t>>(0);
    FakeBackend backend_;
};

std::string diagnostics(const ProxyUnderTest& proxy)
{
    llmproxy::telemetry::flush_logs();
    return proxy.diagnostics();
}

/// Who answers each of so many requests.
std::string who_answers(ProxyUnderTest& proxy, int count, const std::string& model = "gpt-test")
{
    std::string all;
    auto client = proxy.connect();
    for (int i = 0; i < count; ++i) {
        all += client.ask(chat(model)).head["x-llm-proxy-backend"] + " ";
    }
    return all;
}

class HealthChecks : public testing::Test {
protected:
    Checked first;
    Checked second;
};

}  // namespace

TEST_F(HealthChecks, UnhealthyBackendGetsNothingUntilItIsHealthyAgain)
{
    GatewayConfig config(first.url(), kCheck);
    config.backend("b2", second.url(), R"(["*"])", kCheck);
    config.set("balancing", "{ policy: round_robin }");
    ProxyUnderTest proxy(config);
    EXPECT_TRUE(has_text(first.wait_ready_says(proxy, "b1: closed; healthy"), "passed 200"));
    EXPECT_EQ(who_answers(proxy, 4), "b1 b2 b1 b2 ");

    first.answer_checks_by(503);
    const auto ready = first.wait_ready_says(proxy, "b1: closed; unhealthy");
    EXPECT_TRUE(has_text(ready, "b1: closed; unhealthy, last check: refused 503\n")) << ready;
    EXPECT_TRUE(ready.starts_with("ok\n"));
    EXPECT_EQ(who_answers(proxy, 4), "b2 b2 b2 b2 ");
    EXPECT_EQ(proxy.metric("llmproxy_backend_healthy{backend=\"b1\"}"), 0);
    EXPECT_EQ(proxy.metric("llmproxy_backend_healthy{backend=\"b2\"}"), 1);
    EXPECT_GE(proxy.metric(R"(llmproxy_health_checks_total{backend="b1",result="refused"})"), 2);
    EXPECT_TRUE(has_text(diagnostics(proxy), "a backend was found unhealthy"));

    first.answer_checks_by(204);
    first.wait_ready_says(proxy, "b1: closed; healthy");
    EXPECT_TRUE(has_text(who_answers(proxy, 4), "b1 b2 "));
    EXPECT_TRUE(has_text(diagnostics(proxy), "a backend is healthy again"));
}

TEST_F(HealthChecks, ChecksNeverTakeOutTheLastBackend)
{
    GatewayConfig config(first.url(), kCheck);
    config.backend("b2", second.url(), R"(["other"])", kCheck);
    config.set("balancing", "{ policy: round_robin }");
    first.answer_checks_by(500);
    second.answer_checks_by(500);
    ProxyUnderTest proxy(config);
    first.wait_ready_says(proxy, "b1: closed; unhealthy");
    second.wait_ready_says(proxy, "b2: closed; unhealthy");
    EXPECT_EQ(proxy.ask(get("/readyz")).status, 200);
    EXPECT_EQ(who_answers(proxy, 2), "b1 b1 ") << "the only one for this model";
    EXPECT_EQ(who_answers(proxy, 4, "other"), "b1 b2 b1 b2 ") << "both are as bad";
    EXPECT_EQ(proxy.ask(get("/v1/files")).head["x-llm-proxy-backend"], "b1");
    second.answer_checks_by(200);
    second.wait_ready_says(proxy, "b2: closed; healthy");
    EXPECT_EQ(who_answers(proxy, 2, "other"), "b2 b2 ");
    EXPECT_EQ(who_answers(proxy, 2), "b1 b1 ");
}

TEST_F(HealthChecks, RetriesStayAwayFromAnUnhealthyBackendToo)
{
    GatewayConfig config(first.url(), "priority: 1, " + std::string(kCheck));
    config.backend("b2", second.url());
    config.set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0 }");
    first.answer_checks_by(500);
    ProxyUnderTest proxy(config);
    first.wait_ready_says(proxy, "b1: closed; unhealthy");
    second.fake().next([](Exchange& exchange) { exchange.json("{}", 503); });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.head["x-llm-proxy-backend"], "b2");
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "2");
    EXPECT_EQ(first.served(), 0U);
}

TEST_F(HealthChecks, UnhealthyBackendIsUsedWhileNoCircuitOfAHealthyOneAdmits)
{
    GatewayConfig config(first.url(), "priority: 1, " + std::string(kCheck));
    config.backend("b2", second.url());
    config.set("fallback", "{ max_retries: 0, circuit_failure_threshold: 1 }");
    first.answer_checks_by(500);
    ProxyUnderTest proxy(config);
    first.wait_ready_says(proxy, "b1: closed; unhealthy");
    second.fake().next([](Exchange& exchange) { exchange.json("{}", 500); });
    EXPECT_EQ(who_answers(proxy, 3), "b2 b1 b1 ");
}

TEST_F(HealthChecks, AskAsTheBackendWantsToBeAsked)
{
    ProxyUnderTest proxy(GatewayConfig(
        first.url(), "api_key: sk-check, headers: { X-Team: blue }, " + std::string(kCheck)));
    first.wait_ready_says(proxy, "healthy");
    const auto seen = first.fake().requests().front();
    EXPECT_EQ(seen.head.start_line, "GET /health HTTP/1.1");
    EXPECT_EQ(seen.head["Authorization"], "Bearer sk-check");
    EXPECT_EQ(seen.head["X-Team"], "blue");
    EXPECT_EQ(seen.head["Connection"], "close");
    EXPECT_EQ("http://" + seen.head["Host"] + "/v1", first.url());
}

TEST_F(HealthChecks, TellWhyAConnectionOrItsTlsFailed)
{
    TestCa ca;
    const TestCa other("another");
    const SilentPort silent;
    const FakeBackend wrong({}, TestCa::server(ca.issue()));
    GatewayConfig config("http://127.0.0.1:" + std::to_string(dead_port()) + "/v1", kCheck);
    config.backend("b2", "http://127.0.0.1:" + std::to_string(silent.port()) + "/v1", R"(["*"])",
                   "health_check: { path: /, interval: 10ms, timeout: 20ms }");
    config.backend("b3", wrong.url(), R"(["*"])",
                   "tls: { ca: \"" + other.certificate() + "\" }, " + kCheck);
    config.backend("b4", first.url(), R"(["*"])", kCheck);
    ProxyUnderTest proxy(config);
    for (const auto* words :
         {"b1: closed; unhealthy, last check: connect_failed\n",
          "b2: closed; unhealthy, last check: timeout\n",
          "b3: closed; unhealthy, last check: tls_failed\n", "b4: closed; healthy"}) {
        const auto ready = first.wait_ready_says(proxy, words);
        EXPECT_TRUE(has_text(ready, words)) << ready;
    }
}

TEST_F(HealthChecks, FollowAReload)
{
    ProxyUnderTest proxy{GatewayConfig(first.url(), kCheck)};
    first.wait_ready_says(proxy, "healthy");
    proxy.reload(GatewayConfig(first.url(), "health_check: { path: /other, interval: 10ms }"));
    const auto before = first.checks();
    ASSERT_TRUE(first.fake().wait_requests(first.fake().request_count() + 10));
    EXPECT_LE(first.checks(), before + 1) << "one may have been under way";
    proxy.reload(GatewayConfig(first.url()));
    EXPECT_EQ(proxy.ask(get("/readyz")).body, "ok\nb1: closed\n");
    EXPECT_EQ(proxy.metric("llmproxy_backend_healthy{"), -1) << "shown no more";
}

TEST_F(HealthChecks, StateStaysOverAReloadThatLeavesTheCheckAlone)
{
    GatewayConfig config(first.url(), kCheck);
    first.answer_checks_by(500);
    ProxyUnderTest proxy(config);
    first.wait_ready_says(proxy, "unhealthy");
    proxy.reload(GatewayConfig(first.url(), "weight: 2, " + std::string(kCheck)));
    EXPECT_TRUE(has_text(proxy.ask(get("/readyz")).body, "unhealthy"));
}

TEST_F(HealthChecks, OneUnderWayDoesNotHoldUpTheEnd)
{
    first.fake().always([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy(
        GatewayConfig(first.url(), "health_check: { path: /health, timeout: 1h }"));
    ASSERT_TRUE(first.fake().wait_requests(1));
    proxy.drain();
    EXPECT_EQ(proxy.wait(), 0);
    EXPECT_FALSE(has_text(diagnostics(proxy), "did not end"));
}

TEST_F(HealthChecks, MockProviderCanBeCheckedToo)
{
    GatewayConfig config("mock", "health_check: { path: /v1/models, interval: 10ms }");
    config.backend("b2", first.url(), R"(["*"])", kCheck);
    ProxyUnderTest proxy(config);
    EXPECT_TRUE(has_text(first.wait_ready_says(proxy, "b1: closed; healthy"), "passed 200"));
}
