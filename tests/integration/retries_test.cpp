// What spans attempts and requests: circuits, keys, the retry budget, public model names, and clients that leave.

#include "llmproxy/core/clock.hpp"
#include "support/crowd.hpp"
#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

using namespace llmproxy::test;
using namespace std::chrono_literals;
namespace core = llmproxy::core;

namespace {

constexpr auto kQuick = "{ backoff_initial_delay: 1, backoff_jitter: 0 }";

FakeBackend::Script always(int status, std::string fields = {})
{
    return [=](Exchange& exchange) { exchange.reply(status, "{}", fields); };
}

/// How many of so many requests were not answered by 200.
std::size_t load(ProxyUnderTest& proxy, std::size_t threads, std::size_t each)
{
    const auto result = ask_in_turn(proxy, threads, each);
    return result.failed() + result.cut;
}

class Retries : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    std::shared_ptr<core::ManualClock> clock = std::make_shared<core::ManualClock>();
};

}  // namespace

TEST_F(Retries, OpenCircuitAnswersByItselfUntilProbesSucceed)
{
    auto config = GatewayConfig(backend.url())
                      .set("fallback", "{ max_retries: 0, circuit_failure_threshold: 2 }");
    ProxyUnderTest proxy(config, {}, clock);
    backend.next(always(500));
    backend.next(always(500));
    EXPECT_EQ(proxy.ask(chat()).status, 500);
    EXPECT_EQ(proxy.ask(get("/readyz")).status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 500);
    const auto refused = proxy.ask(chat());
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(error_code(refused), "circuit_open");
    EXPECT_EQ(refused.head["Retry-After"], "60");
    EXPECT_EQ(refused.head["x-should-retry"], "");
    EXPECT_EQ(proxy.ask(get("/v1/files")).status, 503) << "routes without a model too";
    const auto ready = proxy.ask(get("/readyz"));
    EXPECT_EQ(ready.status, 503);
    EXPECT_TRUE(has_text(ready.body, "b1: open")) << ready.body;
    EXPECT_EQ(backend.request_count(), 2U);

    clock->advance(60s);
    backend.next(always(500));
    EXPECT_EQ(proxy.ask(chat()).status, 500) << "one probe";
    EXPECT_EQ(proxy.ask(chat()).head["Retry-After"], "120") << "open for longer each time";
    clock->advance(120s);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.request_count(), 6U);
    EXPECT_TRUE(has_text(proxy.ask(get("/readyz")).body, "b1: closed"));
}

TEST_F(Retries, CircuitStaysOpenOverAReloadThatLeavesItsBackendAlone)
{
    auto config = GatewayConfig(backend.url())
                      .set("fallback", "{ max_retries: 0, circuit_failure_threshold: 1 }");
    ProxyUnderTest proxy(config, {}, clock);
    backend.next(always(500));
    EXPECT_EQ(proxy.ask(chat()).status, 500);
    proxy.reload(config);
    EXPECT_EQ(error_code(proxy.ask(chat())), "circuit_open");
}

TEST_F(Retries, CircuitOpenWhileARetryWaitsPassesTheLastReplyOn)
{
    auto config =
        GatewayConfig(backend.url())
            .set("fallback", "{ backoff_initial_delay: 1, circuit_failure_threshold: 2 }");
    ProxyUnderTest proxy(config, {}, clock);
    backend.always(always(503));
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "2");
    EXPECT_EQ(reply.head["x-should-retry"], "false");
    EXPECT_EQ(backend.request_count(), 2U);
}

TEST_F(Retries, CircuitOpenWhileARetryWaitsPassesALongReplyOnToo)
{
    auto config =
        GatewayConfig(backend.url())
            .set("fallback", "{ backoff_initial_delay: 1, circuit_failure_threshold: 2 }");
    ProxyUnderTest proxy(config, {}, clock);
    const std::string body(300'000, 'x');
    backend.always([body](Exchange& exchange) { exchange.reply(503, body); });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 503);
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.body, body);
    EXPECT_EQ(backend.request_count(), 2U);
}

TEST_F(Retries, RefusedKeyGivesWayToAnotherAndRests)
{
    backend.always([](Exchange& exchange) {
        exchange.json("{}", exchange.request().head["Authorization"] == "Bearer bad" ? 401 : 200);
    });
    ProxyUnderTest proxy(
        GatewayConfig(backend.url(), "api_keys: [bad, good]").set("fallback", kQuick), {}, clock);
    const auto first = proxy.ask(chat());
    EXPECT_EQ(first.status, 200);
    EXPECT_EQ(first.head["x-llm-proxy-attempts"], "2");
    const auto line = proxy.access_line(first);
    ASSERT_EQ(line["tries"].size(), 2U);
    EXPECT_EQ(line["tries"][0]["outcome"], "auth");
    EXPECT_EQ(line["tries"][0]["key"], 0);
    EXPECT_EQ(line["tries"][1]["outcome"], "ok");
    EXPECT_EQ(line["tries"][1]["key"], 1);
    EXPECT_GT(line["tries"][1]["bytes_sent"], 100);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(proxy.ask(chat()).head["x-llm-proxy-attempts"], "1");
    }
    clock->advance(60s);
    const auto a = proxy.ask(chat()).head["x-llm-proxy-attempts"];
    const auto b = proxy.ask(chat()).head["x-llm-proxy-attempts"];
    EXPECT_TRUE((a == "2") != (b == "2")) << "tried again, once: " << a << b;
}

TEST_F(Retries, NeverExceedTheBudget)
{
    ProxyUnderTest proxy(GatewayConfig(backend.url())
                             .set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0, "
                                              "enable_circuit_breaker: false }"));
    backend.always(always(503));
    constexpr std::size_t kRequests = 200;
    EXPECT_EQ(load(proxy, 4, kRequests / 4), kRequests);
    EXPECT_LE(backend.request_count(), kRequests + kRequests / 5 + 10);
    EXPECT_GE(backend.request_count(), kRequests + kRequests / 5);
}

TEST_F(Retries, OneBackendDyingAgainAndAgainUnderLoadIsNotSeenByClients)
{
    FakeBackend other{[](Exchange& exchange) { exchange.json("{}"); }};
    FaultGate gate(backend.port());
    GatewayConfig config("http://127.0.0.1:" + std::to_string(gate.port()) + "/v1");
    config.backend("b2", other.url());
    config.set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0, retry_budget: 5, "
                           "circuit_open_timeout: 1ms, cooldown_seconds: 1ms }");
    ProxyUnderTest proxy(config);
    std::atomic<bool> done{false};
    std::thread killer([&] {
        Faults down;
        down.reset_on_accept = true;
        for (int i = 0; i < 20 && !done; ++i) {
            const auto before = other.request_count();
            gate.set(down);
            gate.cut_all(true);
            other.wait_requests(before + 10);
            gate.set({});
            other.wait_requests(before + 20);
        }
    });
    EXPECT_EQ(load(proxy, 8, 150), 0U);
    done = true;
    killer.join();
    EXPECT_GT(other.request_count(), 100U);
}

TEST_F(Retries, NothingGoesUpstreamOnceTheClientHasLeftAWaitingRetry)
{
    ProxyUnderTest proxy(GatewayConfig(backend.url())
                             .set("fallback", "{ backoff_initial_delay: 5s, backoff_jitter: 0 }"));
    backend.always(always(503));
    {
        auto client = proxy.connect();
        client.send(chat());
        ASSERT_TRUE(backend.wait_requests(1));
    }
    const auto line = proxy.access_line_where("outcome", "client_gone");
    ASSERT_TRUE(line.is_object());
    EXPECT_LT(line["duration_ms"], 4000) << "before the wait was over";
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(Retries, WaitThatTheDeadlineWouldEndIsNotBegun)
{
    ProxyUnderTest proxy(GatewayConfig(backend.url())
                             .set("fallback", "{ backoff_initial_delay: 5s, backoff_jitter: 0 }")
                             .set("timeout", "{ total_timeout: 4s }"));
    backend.always(always(503, "X-Of: backend\r\n"));
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.head["X-Of"], "backend");
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "1");
}

TEST_F(Retries, OtherRoutesAreRepeatedOnlyWithoutABody)
{
    ProxyUnderTest proxy(GatewayConfig(backend.url()).set("fallback", kQuick));
    backend.next([](Exchange& exchange) { exchange.reset(); });
    EXPECT_EQ(proxy.ask(get("/v1/files")).status, 200);
    EXPECT_EQ(backend.request_count(), 2U);
    backend.always([](Exchange& exchange) { exchange.reply(503, "{}", "Connection: close\r\n"); });
    EXPECT_EQ(proxy.ask(get("/v1/files")).head["x-llm-proxy-attempts"], "2") << "once more";
    const auto before = backend.request_count();
    const auto posted = proxy.ask(post_json("/v1/files", "{}"));
    EXPECT_EQ(posted.status, 503);
    EXPECT_EQ(posted.head["x-llm-proxy-attempts"], "1");
    EXPECT_EQ(backend.request_count(), before + 1);
}

TEST_F(Retries, HeadOfAStreamIsHeldForItsFirstBlockForASecondAtMost)
{
    Gate later;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: half");
        exchange.wait(later);
        exchange.piece(" a block\n\ndata: [DONE]\n\n");
        exchange.last();
    });
    ProxyUnderTest proxy(GatewayConfig(backend.url()).set("fallback", kQuick));
    auto client = proxy.connect();
    client.send(post_json("/v1/responses", R"({"model":"m","stream":true})"));
    auto reply = client.head();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(client.piece(reply), "data: half");
    later.open();
    client.finish(reply);
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.body, "data: half a block\n\ndata: [DONE]\n\n");
}

TEST_F(Retries, PublicModelNamesReachTheirTargetsUnderTheirOwnNames)
{
    FakeBackend other{[](Exchange& exchange) { exchange.json("{}"); }};
    GatewayConfig config;
    config.backend("b1", backend.url(), R"(["none"])");
    config.backend("b2", other.url(), R"(["none"])", "priority: 1");
    config.set("models", "[{ name: fast, targets: [{ backend: b1, model: 'm-\"1\"' }, "
                         "{ backend: b2 }] }]");
    config.set("fallback", kQuick);
    ProxyUnderTest proxy(config);
    const std::string rest = R"(,"stream":true, "messages":[{"model":"fast"}]})";
    auto client = proxy.connect();
    EXPECT_EQ(
        client.ask(post_json("/v1/chat/completions", R"({"model": "f\u0061st" )" + rest)).status,
        200);
    EXPECT_EQ(backend.last_request().body,
              R"({"stream_options":{"include_usage":true},"model": "m-\"1\"" )" + rest);
    backend.next(always(503));
    const auto moved = client.ask(post_json("/v1/embeddings", R"({"input":[1],"model":"fast"})"));
    EXPECT_EQ(moved.status, 200);
    EXPECT_EQ(moved.head["x-llm-proxy-backend"], "b2");
    EXPECT_EQ(other.last_request().body, R"({"input":[1],"model":"fast"})");
    EXPECT_EQ(error_code(client.ask(chat("faster"))), "model_not_found");
    const auto list = nlohmann::json::parse(client.ask(get("/v1/models")).body);
    ASSERT_EQ(list["data"].size(), 1U);
    EXPECT_EQ(list["data"][0]["id"], "fast");
}

TEST_F(Retries, LeastPendingSendsTheNextRequestToTheIdleBackend)
{
    Gate release;
    backend.always([&](Exchange& exchange) {
        exchange.wait(release);
        exchange.json("{}");
    });
    FakeBackend other{[](Exchange& exchange) { exchange.json("{}"); }};
    GatewayConfig config(backend.url());
    config.backend("b2", other.url());
    ProxyUnderTest proxy(config);
    auto waiting = proxy.connect();
    waiting.send(chat());
    if (!backend.wait_requests(1)) {
        FAIL() << "the first of two that are equal";
    }
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(proxy.ask(chat()).head["x-llm-proxy-backend"], "b2");
    }
    release.open();
    EXPECT_EQ(waiting.response().status, 200);
}

TEST_F(Retries, LearntTimeoutEndsAWaitLongBeforeTheConfiguredOne)
{
    GatewayConfig config(backend.url(), "adaptive_timeout: { enabled: true, floor: 100ms }");
    ProxyUnderTest proxy(config.set("timeout", "{ response_header_timeout: 1h }"));
    EXPECT_EQ(load(proxy, 1, 20), 0U);
    backend.next([](Exchange& exchange) { exchange.stall(); });
    EXPECT_EQ(error_code(proxy.ask(chat())), "upstream_timeout");
}
