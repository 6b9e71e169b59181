// GET /manage/stats: what was counted of backends, what projects spent, and the process.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

using namespace llmproxy;
using namespace llmproxy::test;
using nlohmann::json;

namespace {

json named(const json& list, const std::string& name)
{
    for (const auto& one : list) {
        if (one["name"] == name) {
            return one;
        }
    }
    return {};
}

std::uint64_t count(const json& list, const std::string& name)
{
    const auto found = named(list, name);
    return found.is_null() ? 0 : found["count"].get<std::uint64_t>();
}

}  // namespace

TEST(ManageStats, CountsBackendsTimesAndSpending)
{
    const TempDir dir;
    FakeBackend backend([](Exchange& exchange) {
        exchange.json(R"({"usage":{"prompt_tokens":1000000,"completion_tokens":0}})");
    });
    auto made = managed(backend.url(), dir.file("store.db"));
    made.auth = "{ mode: token }";
    made.backends.clear();
    made.backend("b1", backend.url(), R"(["gpt-*"])");
    made.backend("dead", "http://127.0.0.1:" + std::to_string(dead_port()) + "/v1", R"(["dead"])");
    made.set("prices", "[ { model: \"*\", input: 2, output: 1 } ]");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    const auto project = api.make("/manage/projects", {{"name", "p"}})["id"].get<std::string>();
    const auto secret = api.make("/manage/tokens", {{"project", project}, {"name", "t"}})["secret"]
                            .get<std::string>();
    const auto fields = "Authorization: Bearer " + secret + "\r\n";
    auto stats = api.read("/manage/stats");
    EXPECT_TRUE(named(stats["backends"], "b1")["duration"].is_null());
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(proxy.ask(chat("gpt-4o", false, fields)).status, 200);
    }
    backend.next([](Exchange& exchange) { exchange.json("{}", 429); });
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, fields)).status, 429);
    EXPECT_EQ(proxy.ask(chat("dead", false, fields + "X-Request-Id: last\r\n")).status, 502);
    proxy.access_line("last");

    stats = api.read("/manage/stats");
    const auto good = named(stats["backends"], "b1");
    EXPECT_EQ(good["requests"], 4);
    EXPECT_EQ(count(good["outcomes"], "ok"), 4U);
    EXPECT_EQ(count(good["attempts"], "ok"), 3U);
    EXPECT_EQ(count(good["attempts"], "rate_limit"), 1U);
    EXPECT_EQ(good["circuit"], "closed");
    EXPECT_EQ(good["in_flight"], 0);
    for (const auto* what : {"duration", "first_byte"}) {
        const auto& times = good[what];
        EXPECT_EQ(times["count"], 4) << what;
        EXPECT_GT(times["p50_ms"], 0.0);
        EXPECT_GE(times["p95_ms"], times["p50_ms"]);
        EXPECT_GE(times["p99_ms"], times["p95_ms"]);
        EXPECT_GE(times["max_ms"], times["p99_ms"]);
        EXPECT_GT(times["mean_ms"], 0.0);
    }
    const auto dead = named(stats["backends"], "dead");
    EXPECT_EQ(count(dead["outcomes"], "upstream_connect_failed"), 1U);
    EXPECT_TRUE(dead["first_byte"].is_null());

    ASSERT_EQ(stats["projects"].size(), 1U);
    EXPECT_EQ(stats["projects"][0]["name"], "p");
    EXPECT_GE(std::stod(stats["projects"][0]["today_usd"].get<std::string>()), 6.0);
    EXPECT_EQ(stats["projects"][0]["month_usd"], stats["projects"][0]["today_usd"]);
    EXPECT_GT(stats["process"]["resident_bytes"], 1'000'000);
    EXPECT_GT(stats["process"]["open_fds"], 3);
}

TEST(ManageStats, KeepsBackendsThatAReloadDropped)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    auto made = managed(backend.url(), "");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    const auto reply = proxy.ask(chat());
    proxy.access_line(reply);
    made.backends.clear();
    made.backend("b2", backend.url());
    made.more.replace(made.more.find("default_backend: b1"), 19, "default_backend: b2");
    proxy.reload(made);
    const auto stats = api.read("/manage/stats");
    EXPECT_TRUE(stats["projects"].is_null());
    ASSERT_EQ(stats["backends"].size(), 2U);
    EXPECT_EQ(stats["backends"][0]["name"], "b2");
    EXPECT_EQ(stats["backends"][0]["requests"], 0);
    EXPECT_EQ(stats["backends"][1]["name"], "b1");
    EXPECT_EQ(stats["backends"][1]["in_use"], false);
    EXPECT_TRUE(stats["backends"][1]["circuit"].is_null());
    EXPECT_EQ(stats["backends"][1]["requests"], 1);
}
