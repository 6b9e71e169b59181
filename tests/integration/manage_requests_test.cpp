// What the management API tells of single requests: the list of recent ones, one with its attempts, the live tail.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

using namespace llmproxy;
using namespace llmproxy::test;
using nlohmann::json;

namespace {

std::string with_id(const std::string& id)
{
    return "X-Request-Id: " + id + "\r\n";
}

std::vector<std::string> ids(const json& list)
{
    std::vector<std::string> all;
    for (const auto& one : list["data"]) {
        all.push_back(one["request_id"]);
    }
    return all;
}

using Ids = std::vector<std::string>;

class ManageRequests : public testing::Test {
protected:
    [[nodiscard]] GatewayConfig config() const { return managed(backend.url(), ""); }

    /// Requests are recorded after their answer was written: waits until so many are there.
    static bool wait_for(const ManageApi& api, std::size_t count, const std::string& query = "")
    {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (api.read("/manage/requests" + query)["data"].size() < count) {
            if (std::chrono::steady_clock::now() > until) {
                return false;
            }
        }
        return true;
    }

    FakeBackend backend{[](Exchange& exchange) {
        exchange.json(R"({"model":"gpt-4o-1","usage":{"prompt_tokens":3,"completion_tokens":4}})");
    }};
};

/// A tail being read.
class Tail {
public:
    Tail(const ProxyUnderTest& proxy, const std::string& query = "")
        : client_(proxy.connect("admin"))
    {
        client_.send(get("/manage/requests/tail" + query,
                         "Authorization: Bearer " + std::string(kAdminToken) + "\r\n"));
        reply_ = client_.head();
    }

    /// The next event's type and data; comments are passed over.
    std::pair<std::string, json> event()
    {
        for (;;) {
            const auto end = text_.find("\n\n");
            if (end == std::string::npos) {
                auto piece = client_.piece(reply_);
                if (!piece) {
                    return {};
                }
                text_ += *piece;
                continue;
            }
            const auto block = text_.substr(0, end);
            text_.erase(0, end + 2);
            if (!block.starts_with("event: ")) {
                continue;
            }
            const auto data = block.find("\ndata: ");
            return {block.substr(7, data - 7), json::parse(block.substr(data + 7))};
        }
    }

    [[nodiscard]] Response& reply() { return reply_; }
    TestClient& client() { return client_; }

private:
    TestClient client_;
    Response reply_;
    std::string text_;
};

}  // namespace

TEST_F(ManageRequests, TheListShowsTheNewestFirstAndPagesOn)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    for (int i = 1; i <= 5; ++i) {
        EXPECT_EQ(proxy.ask(chat("gpt-4o", false, with_id("r" + std::to_string(i)))).status, 200);
        ASSERT_TRUE(wait_for(api, static_cast<std::size_t>(i)));
    }
    const auto first = api.read("/manage/requests?limit=2");
    EXPECT_EQ(ids(first), (Ids{"r5", "r4"}));
    const auto second =
        api.read("/manage/requests?limit=3&after=" + first["next"].get<std::string>());
    EXPECT_EQ(ids(second), (Ids{"r3", "r2", "r1"}));
    EXPECT_TRUE(second["next"].is_null());
    EXPECT_EQ(error_param(api.get("/manage/requests?after=x")), "after");
}

TEST_F(ManageRequests, OneRequestTellsWhatItsLineSays)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    proxy.ask(chat("gpt-4o", false, with_id("one")));
    ASSERT_TRUE(wait_for(api, 1));
    auto shown = api.read("/manage/requests/one");
    const auto line = proxy.access_line("one");
    for (const auto& [name, value] : line.items()) {
        EXPECT_EQ(shown[name], value) << name;
    }
    EXPECT_EQ(shown["number"], 1);
    EXPECT_EQ(shown["served_model"], "gpt-4o-1");
    EXPECT_EQ(shown["input_tokens"], 3);
    ASSERT_EQ(shown["tries"].size(), 1U);
    const auto& only = shown["tries"][0];
    EXPECT_EQ(only["backend"], "b1");
    EXPECT_EQ(only["outcome"], "ok");
    EXPECT_EQ(only["status"], 200);
    EXPECT_EQ(only["circuit"], "closed");
    EXPECT_GT(only["bytes_sent"].get<int>(), 100);
    EXPECT_GT(only["duration_ms"].get<double>(), 0.0);
    EXPECT_LE(only["duration_ms"].get<double>(), shown["duration_ms"].get<double>());
    EXPECT_EQ(api.get("/manage/requests/two").status, 404);
}

TEST_F(ManageRequests, AttemptsShowWhatFailedAndWhereItWent)
{
    auto made = config();
    made.backends.clear();
    made.backend("b1", backend.url(), R"(["*"])", "priority: 0");
    FakeBackend other([](Exchange& exchange) { exchange.json("{}"); });
    made.backend("second", other.url(), R"(["*"])", "priority: 1");
    made.set("fallback", "{ backoff_initial_delay: 1ms, circuit_failure_threshold: 1 }");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    backend.next([](Exchange& exchange) { exchange.json(R"({"error":{}})", 503); });
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, with_id("two"))).status, 200);
    ASSERT_TRUE(wait_for(api, 1));
    const auto tries = api.read("/manage/requests/two")["tries"];
    ASSERT_EQ(tries.size(), 2U);
    EXPECT_EQ(tries[0]["backend"], "b1");
    EXPECT_EQ(tries[0]["outcome"], "transient");
    EXPECT_EQ(tries[0]["status"], 503);
    EXPECT_EQ(tries[0]["circuit"], "open");
    EXPECT_EQ(tries[1]["backend"], "second");
    EXPECT_EQ(tries[1]["outcome"], "ok");
}

TEST_F(ManageRequests, AnAttemptThatFailedAloneShowsItsCircuit)
{
    auto made = config();
    made.backends.clear();
    made.backend("b1", "http://127.0.0.1:" + std::to_string(dead_port()) + "/v1");
    made.set("fallback", "{ max_retries: 0, circuit_failure_threshold: 1 }");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, with_id("lost"))).status, 502);
    ASSERT_TRUE(wait_for(api, 1));
    const auto shown = api.read("/manage/requests/lost");
    ASSERT_EQ(shown["tries"].size(), 1U);
    EXPECT_EQ(shown["tries"][0]["outcome"], "upstream_connect_failed");
    EXPECT_EQ(shown["tries"][0]["circuit"], "open");
    EXPECT_FALSE(shown["tries"][0].contains("status"));
}

TEST_F(ManageRequests, FiltersNarrowTheListDown)
{
    auto made = config();
    made.backend("dead", "http://127.0.0.1:" + std::to_string(dead_port()) + "/v1", R"(["dead"])");
    made.backends.front() = R"({ name: b1, provider: openai, base_url: ")" + backend.url() +
                            R"(", models: ["gpt-*"] })";
    made.auth = "{ mode: token, static_tokens: [ { name: team-a, token: a-token }, "
                "{ name: team-b, token: b-token } ] }";
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    const std::string as_a = "Authorization: Bearer a-token\r\n";
    const std::string as_b = "Authorization: Bearer b-token\r\n";
    proxy.ask(chat("gpt-4o", false, as_a + with_id("good")));
    proxy.ask(chat("gpt-5", false, as_b + with_id("good-too")));
    proxy.ask(chat("dead", false, as_a + with_id("dead")));
    proxy.ask(chat("gpt-4o", false, with_id("nobody")));
    proxy.ask(get("/v1/models", as_a + with_id("models")));
    ASSERT_TRUE(wait_for(api, 5));
    const auto found = [&api](const std::string& query) {
        const auto all = ids(api.read("/manage/requests?" + query));
        return std::set<std::string>(all.begin(), all.end());
    };
    using Set = std::set<std::string>;
    EXPECT_EQ(found("status=2xx"), (Set{"good", "good-too"}));
    EXPECT_EQ(found("status=401"), (Set{"nobody"}));
    EXPECT_EQ(found("status=502&route=chat_completions"), (Set{"dead"}));
    EXPECT_EQ(found("outcome=invalid_api_key"), (Set{"nobody"}));
    EXPECT_EQ(found("backend=b1"), (Set{"good", "good-too"}));
    EXPECT_EQ(found("model=gpt-5"), (Set{"good-too"}));
    EXPECT_EQ(found("token=team-a&route=chat_completions"), (Set{"good", "dead"}));
    EXPECT_EQ(found("project=none"), Set());
    EXPECT_EQ(found("since=2020-01-01").size(), 5U);
    EXPECT_EQ(found("since=2200-01-01"), Set());
    EXPECT_EQ(found("slow=true"), Set());
    EXPECT_EQ(error_param(api.get("/manage/requests?status=6xx")), "status");
}

TEST_F(ManageRequests, SlowOnesAreMarked)
{
    auto made = config();
    made.logging_more = ", slow_request_threshold: 1ns";
    made.access_log_more = ", sample: 0";
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    proxy.ask(chat("gpt-4o", false, with_id("slow")));
    ASSERT_TRUE(wait_for(api, 1, "?slow=true"));
    EXPECT_EQ(api.read("/manage/requests/slow")["slow"], true);
    EXPECT_EQ(proxy.access_line("slow")["slow"], true);
}

TEST_F(ManageRequests, LinesAreSampledButTroubleIsAlwaysWritten)
{
    auto made = config();
    made.access_log_more = ", sample: 0";
    made.logging_more = ", slow_request_threshold: 0s";
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    proxy.ask(chat("gpt-4o", false, with_id("fine")));
    ASSERT_TRUE(wait_for(api, 1));
    backend.next([](Exchange& exchange) { exchange.json("{}", 429); });
    proxy.ask(chat("gpt-4o", false, with_id("refused")));
    EXPECT_EQ(proxy.access_line("refused")["status"], 429);
    made.access_log_more = ", sample: 1";
    proxy.reload(made);
    proxy.ask(chat("gpt-4o", false, with_id("after")));
    EXPECT_EQ(proxy.access_line("after")["status"], 200);
    EXPECT_FALSE(has_text(proxy.access_log(), "\"fine\""));
    EXPECT_EQ(ids(api.read("/manage/requests")).size(), 3U);
}

TEST_F(ManageRequests, RequestsAboutTheProgramItselfAreNotKept)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    proxy.ask(get("/healthz"));
    EXPECT_FALSE(proxy.metrics().empty());
    api.read("/manage/backends");
    proxy.ask(chat("gpt-4o", false, with_id("kept")));
    ASSERT_TRUE(wait_for(api, 1));
    EXPECT_EQ(ids(api.read("/manage/requests")), (Ids{"kept"}));
}

TEST_F(ManageRequests, NoneAreKeptWhenTheConfigurationSaysSo)
{
    auto made = config();
    made.set("telemetry", "{ recent_requests: 0 }");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    proxy.ask(chat("gpt-4o", false, with_id("gone")));
    proxy.access_line("gone");
    EXPECT_TRUE(api.read("/manage/requests")["data"].empty());
    EXPECT_EQ(api.get("/manage/requests/gone").status, 404);
}

TEST_F(ManageRequests, ATailShowsRequestsAsTheyFinish)
{
    ProxyUnderTest proxy{config()};
    Tail tail(proxy, "?model=gpt-4o");
    EXPECT_EQ(tail.reply().status, 200);
    EXPECT_EQ(tail.reply().head["content-type"], "text/event-stream");
    proxy.ask(chat("gpt-5", false, with_id("other")));
    proxy.ask(chat("gpt-4o", false, with_id("first")));
    auto event = tail.event();
    EXPECT_EQ(event.first, "request");
    EXPECT_EQ(event.second["request_id"], "first");
    EXPECT_EQ(event.second["tries"].size(), 1U);
    proxy.ask(chat("gpt-4o", false, with_id("second")));
    EXPECT_EQ(tail.event().second["request_id"], "second");
}

TEST_F(ManageRequests, ATailBeginsWithWhatIsOverAndEndsWhereAsked)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    for (int i = 1; i <= 3; ++i) {
        proxy.ask(chat("gpt-4o", false, with_id("r" + std::to_string(i))));
        ASSERT_TRUE(wait_for(api, static_cast<std::size_t>(i)));
    }
    Tail tail(proxy, "?last=2&limit=3");
    EXPECT_EQ(tail.event().second["request_id"], "r2");
    EXPECT_EQ(tail.event().second["request_id"], "r3");
    proxy.ask(chat("gpt-4o", false, with_id("r4")));
    EXPECT_EQ(tail.event().second["request_id"], "r4");
    EXPECT_EQ(tail.event(), (std::pair<std::string, json>{"end", {{"reason", "limit"}}}));
    tail.client().finish(tail.reply());
    EXPECT_TRUE(tail.reply().complete());
}

TEST_F(ManageRequests, ASlowReaderIsToldHowManyItMissed)
{
    auto made = config();
    made.set("telemetry", "{ recent_requests: 1 }");
    ProxyUnderTest proxy{made};
    Tail tail(proxy);
    // The tail looks ten times a second: of those that are over between two looks it sees the last.
    std::uint64_t told = 0;
    bool missed = false;
    constexpr int kMany = 500;
    auto client = proxy.connect();
    for (int i = 0; i < kMany; ++i) {
        ASSERT_EQ(client.ask(chat("gpt-4o")).status, 200);
    }
    while (told < kMany) {
        const auto [type, data] = tail.event();
        ASSERT_FALSE(type.empty());
        told += type == "missed" ? data["missed"].get<std::uint64_t>() : 1;
        missed = missed || type == "missed";
    }
    EXPECT_EQ(told, static_cast<std::uint64_t>(kMany));
    EXPECT_TRUE(missed);
}

TEST_F(ManageRequests, ATailEndsWhenTheDaemonDrains)
{
    ProxyUnderTest proxy{config()};
    Tail tail(proxy);
    proxy.drain();
    EXPECT_EQ(tail.event(), (std::pair<std::string, json>{"end", {{"reason", "draining"}}}));
    tail.client().finish(tail.reply());
    EXPECT_TRUE(tail.reply().complete());
    EXPECT_EQ(proxy.wait(), 0);
}

TEST_F(ManageRequests, ATailWhoseReaderLeavesEnds)
{
    ProxyUnderTest proxy{config()};
    {
        const Tail tail(proxy);
    }
    const auto line = proxy.access_line_where("path", "/manage/requests/tail");
    EXPECT_EQ(line["outcome"], "client_gone");
}
