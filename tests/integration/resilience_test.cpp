// Resilience at scale: crowds against backends that fail, shares of balancing, waits that backends ask for.
// LLMPROXY_TEST_SCALE=5 makes rounds and samples five times as large.

#include "llmproxy/core/clock.hpp"
#include "support/backend_process.hpp"
#include "support/crowd.hpp"
#include "support/fake_backend.hpp"
#include "support/quick_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <iostream>
#include <sys/resource.h>
#include <thread>

using namespace llmproxy::test;
using namespace std::chrono_literals;
namespace core = llmproxy::core;

namespace {

constexpr std::size_t kCrowd = 1000;
constexpr auto kQuick = "backoff_initial_delay: 1, backoff_jitter: 0";

QuickBackend::Answer status(int code)
{
    return {code, 0ms, {}, "{}"};
}

QuickBackend::Rule always(int code)
{
    return [code](std::size_t) { return status(code); };
}

QuickBackend::Rule slow(std::chrono::milliseconds delay)
{
    return [delay](std::size_t) { return QuickBackend::Answer{200, delay, {}, "{}"}; };
}

std::string fallback(const std::string& more)
{
    return "{ " + std::string(kQuick) + ", " + more + " }";
}

/// Milliseconds of `Server-Timing`.
double proxy_time(const Response& reply)
{
    const auto timing = reply.head["Server-Timing"];
    return std::strtod(timing.c_str() + timing.find('=') + 1, nullptr);
}

/// Each request of the crowd has four descriptors in this process, and there are others besides.
void allow_descriptors()
{
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 4 * kCrowd + 200) {
        throw std::runtime_error("too few descriptors: ulimit -Hn " +
                                 std::to_string(limit.rlim_cur));
    }
}

class Resilience : public testing::Test {
protected:
    Resilience() { allow_descriptors(); }

    GatewayConfig config(const std::string& fallback_more)
    {
        GatewayConfig made(backend.url());
        made.set("fallback", fallback(fallback_more));
        made.set("limits", "{ max_concurrent_requests: 100000, max_queued_requests: 100000 }");
        made.set("pool", "{ max_connections_per_backend: 100000 }");
        made.server_key("max_connections", "100000");
        made.log_level = "warn";
        return made;
    }
    /// All at once: none is answered before the backend has them all.
    CrowdResult wave(ProxyUnderTest& proxy)
    {
        const auto before = backend.request_count();
        backend.hold(true);
        return summed(ask_at_once(proxy, kCrowd, [&] {
            EXPECT_TRUE(backend.wait_requests(before + kCrowd));
            backend.hold(false);
        }));
    }

    QuickBackend backend;
    std::shared_ptr<core::ManualClock> clock = std::make_shared<core::ManualClock>();
};

}  // namespace

TEST_F(Resilience, CrowdAgainstABackendThatFailsHalfTheTimeStaysWithinTheBudget)
{
    ProxyUnderTest proxy(config("enable_circuit_breaker: false"));
    backend.always([](std::size_t number) { return status(number % 2 == 0 ? 500 : 200); });
    const auto result = wave(proxy);
    EXPECT_EQ(result.good() + result.failed(), kCrowd);
    EXPECT_LE(backend.request_count(), kCrowd + kCrowd / 5 + 10);
    EXPECT_GT(backend.request_count(), kCrowd);
    EXPECT_GT(result.good(), kCrowd / 2) << "retries helped some";
}

TEST_F(Resilience, CrowdAgainstABackendThatIsDownReachesItByProbesAlone)
{
    ProxyUnderTest proxy(config("circuit_open_timeout: 60, cooldown_seconds: 300"), {}, clock);
    backend.always(always(500));
    EXPECT_EQ(wave(proxy).good(), 0U);
    EXPECT_LE(backend.request_count(), kCrowd + 10) << "no retry once the circuit is open";

    auto seen = backend.request_count();
    std::vector<double> times;
    for (const auto& reply : ask_at_once(proxy, kCrowd)) {
        ASSERT_EQ(error_code(reply), "circuit_open");
        times.push_back(proxy_time(reply));
    }
    EXPECT_EQ(backend.request_count(), seen);
    std::sort(times.begin(), times.end());
    std::cout << "open circuit, proxy time in ms: p50 " << times[times.size() / 2] << ", p99 "
              << times[times.size() * 99 / 100] << "\n";

    for (int probes = 1; probes <= 3; ++probes) {
        clock->advance(300s);
        EXPECT_EQ(summed(ask_at_once(proxy, 100)).failed(), 100U);
        EXPECT_EQ(backend.request_count(), ++seen) << "one probe";
    }

    backend.always(always(200));
    clock->advance(300s);
    EXPECT_EQ(proxy.ask(chat()).status, 200) << "the first probe";
    EXPECT_EQ(proxy.ask(chat()).status, 200) << "the second";
    EXPECT_EQ(summed(ask_at_once(proxy, 100)).good(), 100U) << "closed";
}

TEST_F(Resilience, BackendProcessThatIsKilledAgainAndAgainIsNotSeenByClients)
{
    BackendProcess unsteady;
    auto made = config("circuit_open_timeout: 20ms, cooldown_seconds: 20ms");
    made.backend("b2", unsteady.url());
    made.set("balancing", "{ policy: round_robin }");
    ProxyUnderTest proxy(made);
    std::atomic<std::size_t> by_unsteady{0};
    std::atomic<std::size_t> by_other{0};
    std::atomic<bool> done{false};
    Gate progress;
    std::thread killer([&] {
        // Both sides of each kill are under load: so many answers of the process, so many without it.
        const auto wait_more = [&](const std::atomic<std::size_t>& count) {
            const auto enough = count + 20;
            while (count < enough && progress.wait()) {}
        };
        for (std::size_t i = 0; i < 20 * test_scale(); ++i) {
            wait_more(by_unsteady);
            unsteady.kill();
            wait_more(by_other);
            unsteady.start();
        }
        done = true;
    });
    const auto result = ask_in_turn(proxy, 8, 1'000'000, [&](const Response& reply) {
        ++(reply.head["x-llm-proxy-backend"] == "b2" ? by_unsteady : by_other);
        progress.open();
        return !done;
    });
    killer.join();
    EXPECT_EQ(result.failed(), 0U);
    EXPECT_GE(by_unsteady, 400U);
    std::cout << "killed under load: " << result.good() << " answers, " << result.cut
              << " cut after their first byte\n";
}

TEST_F(Resilience, SharesOfRoundRobinAreThoseOfTheWeights)
{
    QuickBackend second;
    QuickBackend third;
    GatewayConfig made(backend.url(), "weight: 3");
    made.backend("b2", second.url()).backend("b3", third.url());
    made.set("balancing", "{ policy: round_robin }");
    ProxyUnderTest proxy(made);
    const auto count = 2'000 * test_scale();
    const auto result = ask_in_turn(proxy, 8, count / 8);
    EXPECT_EQ(result.good(), count);
    const auto share = [&](const std::string& name) {
        return static_cast<double>(result.by_backend.at(name)) / static_cast<double>(count);
    };
    EXPECT_NEAR(share("b1"), 0.6, 0.6 * 0.02);
    EXPECT_NEAR(share("b2"), 0.2, 0.2 * 0.02);
    EXPECT_NEAR(share("b3"), 0.2, 0.2 * 0.02);
}

TEST_F(Resilience, FastestLeavesABackendThatBecomesSlowAndComesBackToIt)
{
    QuickBackend other(slow(20ms));
    backend.always(slow(20ms));
    GatewayConfig made(backend.url());
    made.backend("b2", other.url()).set("balancing", "{ policy: fastest }");
    ProxyUnderTest proxy(made, {}, clock);
    // 10 ms of the clock that the averages follow for each request.
    const auto share_of_first = [&](std::size_t requests) {
        const auto result = ask_in_turn(proxy, 16, requests / 16, [&](const Response&) {
            clock->advance(10ms);
            return true;
        });
        EXPECT_EQ(result.good(), requests);
        const auto found = result.by_backend.find("b1");
        const auto count = found == result.by_backend.end() ? 0 : found->second;
        return static_cast<double>(count) / static_cast<double>(requests);
    };
    share_of_first(208);
    EXPECT_GT(share_of_first(208), 0.2) << "both are as fast";
    backend.always(slow(200ms));
    share_of_first(288);
    EXPECT_LT(share_of_first(208), 0.2) << "less than a fifth within 5 s";
    backend.always(slow(20ms));
    share_of_first(1200);
    EXPECT_GT(share_of_first(208), 0.2) << "noticed by the few that it still gets";
}

TEST_F(Resilience, LeastPendingKeepsBackendsAsBusyAsEachOther)
{
    Gate came;
    QuickBackend first;
    QuickBackend second;
    struct Side {
        QuickBackend& backend;
        std::deque<TestClient> waiting;  // in the order in which the backend answers
    };
    std::array<Side, 2> sides{Side{first, {}}, Side{second, {}}};
    for (auto& side : sides) {
        side.backend.announce(came);
        side.backend.hold(true);
    }
    GatewayConfig made(first.url());
    made.backend("b2", second.url());
    ProxyUnderTest proxy(made);
    const auto ask_one_more = [&] {
        auto client = proxy.connect();
        client.send(chat());
        ASSERT_TRUE(came.wait());
        auto& side = sides[first.under_way() > sides[0].waiting.size() ? 0 : 1];
        side.waiting.push_back(std::move(client));
        const auto a = static_cast<long>(first.under_way());
        const auto b = static_cast<long>(second.under_way());
        EXPECT_LE(std::abs(a - b), 2) << a << " and " << b;
    };
    for (int i = 0; i < 100; ++i) {
        ask_one_more();
    }
    // Ten times in a row only one of them answers: what it is rid of comes to it again.
    for (std::size_t i = 0; i < 60 * test_scale(); ++i) {
        auto& side = sides.at(i / 10 % 2);
        ASSERT_TRUE(side.backend.answer_one());
        EXPECT_EQ(side.waiting.front().response().status, 200);
        side.waiting.pop_front();
        ask_one_more();
    }
    for (auto& side : sides) {
        side.backend.hold(false);
        for (auto& client : side.waiting) {
            EXPECT_EQ(client.response().status, 200);
        }
    }
}

TEST_F(Resilience, WaitsExactlyAsLongAsABackendAsks)
{
    struct Case {
        std::string asked;  ///< Retry-After
        std::chrono::milliseconds least;
        std::size_t attempts;
    };
    char soon[40];
    const auto in_two = std::time(nullptr) + 3;
    std::tm broken{};
    std::strftime(soon, sizeof soon, "%a, %d %b %Y %H:%M:%S GMT", ::gmtime_r(&in_two, &broken));
    const std::vector<Case> cases{{"1", 1000ms, 2},
                                  {"5", 5000ms, 2},
                                  {"60", 0ms, 1},
                                  {soon, 1ms, 2},
                                  {"Fri, 31 Dec 2100 23:59:59 GMT", 0ms, 1}};
    std::vector<std::thread> threads;
    for (const auto& one : cases) {
        threads.emplace_back([&one] {
            QuickBackend limited([&one](std::size_t number) {
                return number == 0
                           ? QuickBackend::Answer{429, 0ms, "Retry-After: " + one.asked + "\r\n",
                                                  "{}"}
                           : status(200);
            });
            GatewayConfig made(limited.url());
            ProxyUnderTest proxy(made.set("fallback", fallback("max_retries: 1")));
            const auto began = std::chrono::steady_clock::now();
            const auto reply = proxy.ask(chat());
            const auto took = std::chrono::steady_clock::now() - began;
            EXPECT_EQ(reply.head["x-llm-proxy-attempts"], std::to_string(one.attempts))
                << one.asked;
            EXPECT_EQ(reply.status, one.attempts == 1 ? 429 : 200) << one.asked;
            EXPECT_EQ(reply.head["Retry-After"], one.attempts == 1 ? one.asked : "");
            EXPECT_GE(took, one.least) << one.asked;
            EXPECT_EQ(limited.request_count(), one.attempts);
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
}

int main(int argc, char** argv)
{
    BackendProcess::run_if_child(argc, argv);
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
