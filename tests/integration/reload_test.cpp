// SIGHUP as the process does it, in one process: what takes effect, and what goes on undisturbed.

#include "llmproxy/telemetry/log.hpp"
#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"
#include "support/test_ca.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace llmproxy::test;

TEST(Reload, SwapsBackendsWithoutDisturbingStreams)
{
    Gate gate;
    FakeBackend old_backend([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        if (exchange.wait(gate)) {
            exchange.piece("data: [DONE]\n\n");
            exchange.last();
        }
    });
    FakeBackend new_backend([](Exchange& exchange) { exchange.json(R"({"new":1})"); });
    ProxyUnderTest proxy{GatewayConfig(old_backend.url())};
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    proxy.reload(GatewayConfig(new_backend.url()));
    EXPECT_EQ(proxy.ask(chat()).body, R"({"new":1})");
    gate.open();
    client.finish(reply);
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(client.ask(chat()).body, R"({"new":1})") << "on the old client connection too";
}

TEST(Reload, FiftyTimesUnderLoadLosesNothing)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    const GatewayConfig first(backend.url());
    GatewayConfig second(backend.url());
    second.set("limits", "{ max_concurrent_requests: 77 }");
    ProxyUnderTest proxy{first};
    std::atomic<bool> done{false};
    std::atomic<int> failed{0};
    std::atomic<int> served{0};
    std::vector<std::thread> load;
    for (int i = 0; i < 4; ++i) {
        load.emplace_back([&] {
            auto client = proxy.connect();
            while (!done) {
                failed += client.ask(chat()).status == 200 ? 0 : 1;
                ++served;
            }
        });
    }
    for (int i = 0; i < 50; ++i) {
        proxy.reload(i % 2 == 0 ? second : first);
        const int before = served;
        while (served == before) {
            std::this_thread::yield();
        }
    }
    done = true;
    for (auto& thread : load) {
        thread.join();
    }
    EXPECT_EQ(failed, 0);
    EXPECT_GT(served, 50);
}

TEST(Reload, TokensTakeEffectAtOnce)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    const auto with = [&](const std::string& token) {
        GatewayConfig config(backend.url());
        config.auth = "{ mode: token, static_tokens: [ { name: t, token: \"" + token + "\" } ] }";
        return config;
    };
    ProxyUnderTest proxy{with("old-token-0123456789")};
    EXPECT_EQ(proxy.ask(chat("m", false, "x-api-key: old-token-0123456789\r\n")).status, 200);
    proxy.reload(with("new-token-0123456789"));
    EXPECT_EQ(proxy.ask(chat("m", false, "x-api-key: old-token-0123456789\r\n")).status, 401);
    EXPECT_EQ(proxy.ask(chat("m", false, "x-api-key: new-token-0123456789\r\n")).status, 200);
}

TEST(Reload, KeepsThePoolOfABackendThatIsAsItWas)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    GatewayConfig config(backend.url());
    ProxyUnderTest proxy{config};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    config.set("limits", "{ max_concurrent_requests: 77 }");
    proxy.reload(config);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST(Reload, PoolLimitsTakeEffectOnBackendsThatStay)
{
    Gate gate;
    FakeBackend backend([&](Exchange& exchange) {
        if (exchange.wait(gate)) {
            exchange.json("{}");
        }
    });
    GatewayConfig config(backend.url());
    config.set("limits", "{ queue_timeout: 50ms }");
    ProxyUnderTest proxy{config};
    gate.open();
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    proxy.reload(config.set("pool", "{ max_connections_per_backend: 1 }"));
    auto first = proxy.connect();
    first.send(chat());
    ASSERT_TRUE(backend.wait_requests(2));
    EXPECT_EQ(error_code(proxy.ask(chat())), "overloaded");
    gate.open();
    EXPECT_EQ(first.response().status, 200);
}

TEST(Reload, ReadsTheFilesOfABackendAgain)
{
    const TempDir dir;
    TestCa right("right");
    const TestCa wrong("wrong");
    const auto leaf = right.issue();
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); }, TestCa::server(leaf));
    const auto trusted = dir.file("trusted.crt");
    write_file(trusted, read_file(wrong.certificate()));
    const GatewayConfig config(backend.url(), "tls: { ca: \"" + trusted + "\" }");
    ProxyUnderTest proxy{config};
    EXPECT_EQ(error_code(proxy.ask(chat())), "upstream_tls_failed");
    write_file(trusted, read_file(right.certificate()));
    proxy.reload(config);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST(Reload, TheDrainTimeoutTakesEffect)
{
    Gate never;
    FakeBackend backend([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.wait(never);
    });
    const auto with = [&](const std::string& timeout) {
        return GatewayConfig(backend.url()).server_key("drain_timeout", timeout);
    };
    ProxyUnderTest proxy{with("10h")};
    auto client = proxy.connect();
    client.send(chat("m", true));
    auto reply = client.head();
    ASSERT_TRUE(client.piece(reply));
    proxy.reload(with("100ms"));
    proxy.drain();
    EXPECT_EQ(proxy.wait(), 3);
}

TEST(Reload, TheLogLevelTakesEffect)
{
    FakeBackend backend;
    GatewayConfig config(backend.url());
    ProxyUnderTest proxy{config};
    config.log_level = "error";
    proxy.reload(config);
    config.log_level = "info";
    proxy.reload(config);
    llmproxy::telemetry::flush_logs();
    const auto lines = proxy.diagnostics();
    const auto first = lines.find("configuration reloaded");
    EXPECT_NE(first, std::string::npos);
    EXPECT_EQ(lines.find("configuration reloaded", first + 1), std::string::npos);
}
