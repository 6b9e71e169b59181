// POST /manage/explain: what it says is what then happens, and asking changes nothing.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

using namespace llmproxy;
using namespace llmproxy::test;
using nlohmann::json;

namespace {

class ManageExplain : public testing::Test {
protected:
    [[nodiscard]] GatewayConfig config() const
    {
        auto made = managed(backend.url(), dir.file("store.db"));
        made.auth = "{ mode: token, static_tokens: [ { name: fixed, token: fixed-token } ] }";
        made.set("prices", "[ { model: \"gpt-*\", input: 1, output: 1 } ]");
        return made;
    }

    static json explain(const ManageApi& api, const json& question)
    {
        const auto reply = api.post("/manage/explain", question.dump());
        EXPECT_EQ(reply.status, 200) << reply.body;
        return json::parse(reply.body);
    }

    /// Asks, then makes the request: both must agree.
    static json explain_and_try(const ProxyUnderTest& proxy, const ManageApi& api,
                                const std::string& token, const std::string& model)
    {
        json question{{"model", model}};
        if (!token.empty()) {
            question["token"] = token;
        }
        auto told = explain(api, question);
        const auto fields = token.empty() ? "" : "Authorization: Bearer " + token + "\r\n";
        const auto reply = proxy.ask(chat(model, false, fields));
        EXPECT_EQ(told["passes"], reply.status == 200) << told;
        if (reply.status != 200) {
            EXPECT_EQ(told["refusal"]["status"], reply.status) << told;
            EXPECT_EQ(told["refusal"]["code"], error_code(reply)) << told;
            EXPECT_EQ(told["refusal"]["message"], json::parse(reply.body)["error"]["message"]);
        }
        return told;
    }

    TempDir dir;
    FakeBackend backend{[](Exchange& exchange) {
        exchange.json(R"({"usage":{"prompt_tokens":3,"completion_tokens":4}})");
    }};
};

}  // namespace

TEST_F(ManageExplain, NamesTheBackendsInTheOrderInWhichTheyAreTried)
{
    auto made = config();
    made.backend("second", backend.url(), R"(["gpt-*"])", "priority: 5, api_keys: [k1, k2]");
    made.backend("other", backend.url(), R"(["llama-*"])");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    auto told = explain_and_try(proxy, api, "fixed-token", "gpt-4o");
    EXPECT_EQ(told["account"]["token"], "fixed");
    ASSERT_EQ(told["candidates"].size(), 2U);
    EXPECT_EQ(told["candidates"][0]["backend"], "b1");
    EXPECT_EQ(told["candidates"][0]["usable"], true);
    EXPECT_EQ(told["candidates"][1]["keys"], 2);
    ASSERT_TRUE(proxy.order_circuit("b1", policy::CircuitOrder::open));
    told = explain_and_try(proxy, api, "fixed-token", "gpt-4o");
    EXPECT_EQ(told["candidates"][0]["backend"], "second");
    EXPECT_EQ(told["candidates"][1]["usable"], false);
    EXPECT_EQ(told["candidates"][1]["circuit"], "open");
    EXPECT_EQ(told["candidates"][1]["circuit_held"], true);
    ASSERT_TRUE(proxy.order_circuit("second", policy::CircuitOrder::open));
    told = explain_and_try(proxy, api, "fixed-token", "gpt-4o");
    EXPECT_EQ(told["refusal"]["code"], "circuit_open");
}

TEST_F(ManageExplain, FollowsPublicNames)
{
    auto made = config();
    made.set("models", "[ { name: fast, targets: [ { backend: b1, model: gpt-4o-mini } ] } ]");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    const auto told = explain_and_try(proxy, api, "fixed-token", "fast");
    ASSERT_EQ(told["candidates"].size(), 1U);
    EXPECT_EQ(told["candidates"][0]["model"], "gpt-4o-mini");
}

TEST_F(ManageExplain, TellsTheFirstReasonToRefuse)
{
    auto made = config();
    made.backends.clear();
    made.backend("b1", backend.url(), R"(["gpt-*", "free-*"])");
    ProxyUnderTest proxy{made};
    const ManageApi api(proxy);
    EXPECT_EQ(explain_and_try(proxy, api, "", "gpt-4o")["refusal"]["status"], 401);
    EXPECT_EQ(explain_and_try(proxy, api, "wrong-token", "gpt-4o")["refusal"]["code"],
              "invalid_api_key");
    EXPECT_EQ(explain_and_try(proxy, api, "fixed-token", "none")["refusal"]["code"],
              "model_not_found");

    const auto project = api.make("/manage/projects", {{"name", "p"}, {"models", {"gpt-*"}}});
    const auto id = project["id"].get<std::string>();
    const auto token = api.make("/manage/tokens", {{"project", id}, {"name", "t"}});
    const auto secret = token["secret"].get<std::string>();
    EXPECT_EQ(explain_and_try(proxy, api, secret, "gpt-4o")["passes"], true);
    EXPECT_EQ(explain_and_try(proxy, api, secret, "free-1")["refusal"]["code"],
              "model_not_allowed");
    const auto by_id = explain(api, {{"token_id", token["id"]}, {"model", "free-1"}});
    EXPECT_EQ(by_id["refusal"]["code"], "model_not_allowed");
    EXPECT_EQ(by_id["account"]["project_id"], id);
    EXPECT_EQ(explain(api, {{"token_id", token["id"]}, {"route", "files"}})["refusal"]["code"],
              "route_not_allowed");
    api.post("/manage/tokens/" + token["id"].get<std::string>() + "/revoke");
    EXPECT_EQ(explain_and_try(proxy, api, secret, "gpt-4o")["refusal"]["status"], 401);
    EXPECT_EQ(explain(api, {{"token_id", token["id"]}, {"model", "gpt-4o"}})["refusal"]["status"],
              401);
    EXPECT_EQ(error_param(api.post("/manage/explain", R"({"token_id":"tok_999"})")), "token_id");
}

TEST_F(ManageExplain, TellsLimitsAndBudgetsAndTakesNothingOfThem)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    const auto project = api.make("/manage/projects", {{"name", "p"}})["id"].get<std::string>();
    const auto token = api.make("/manage/tokens", {{"project", project}, {"name", "t"}});
    const auto secret = token["secret"].get<std::string>();
    api.put("/manage/projects/" + project + "/limits", R"({"limits":[{"requests_per_minute":2}]})");
    api.put("/manage/projects/" + project + "/budgets",
            R"({"budgets":[{"period":"day","cost_usd":"0.5"}]})");
    const json question{{"token", secret}, {"model", "gpt-4o"}};
    for (int i = 0; i < 10; ++i) {
        const auto told = explain(api, question);
        EXPECT_EQ(told["passes"], true);
        ASSERT_EQ(told["limits"].size(), 1U);
        EXPECT_EQ(told["limits"][0]["remaining"], 2);
        EXPECT_EQ(told["limits"][0]["of"], "project");
        ASSERT_EQ(told["budgets"].size(), 1U);
        EXPECT_EQ(told["budgets"][0]["left_usd"], "0.5");
    }
    EXPECT_EQ(backend.request_count(), 0U);
    EXPECT_EQ(explain_and_try(proxy, api, secret, "gpt-4o")["passes"], true);
    const auto after = explain(api, question);
    EXPECT_LT(std::stod(after["budgets"][0]["left_usd"].get<std::string>()), 0.5);
    EXPECT_EQ(explain_and_try(proxy, api, secret, "gpt-4o")["passes"], true);
    const auto limited = explain_and_try(proxy, api, secret, "gpt-4o");
    EXPECT_EQ(limited["refusal"]["code"], "rate_limit_exceeded");
    EXPECT_EQ(explain(api, {{"project", project}, {"model", "gpt-4o"}})["refusal"]["code"],
              "rate_limit_exceeded");

    api.put("/manage/projects/" + project + "/limits", R"({"limits":[]})");
    api.put("/manage/projects/" + project + "/budgets",
            R"({"budgets":[{"period":"day","cost_usd":"0"}]})");
    EXPECT_EQ(explain_and_try(proxy, api, secret, "gpt-4o")["refusal"]["code"],
              "insufficient_quota");
    EXPECT_EQ(explain_and_try(proxy, api, secret, "unpriced")["refusal"]["code"],
              "model_not_allowed");
}

TEST_F(ManageExplain, AnswersForTheForwardProxyWithoutResolving)
{
    auto made = config();
    made.set("forward", "{ allow: [\"api.openai.com\", \"*.example.com:8443\"] }");
    const net::Lookup never = [](const std::string& name) {
        ADD_FAILURE() << name << " was resolved";
        return net::LookupResult();
    };
    ProxyUnderTest proxy{made, never};
    const ManageApi api(proxy);
    auto told = explain(api, {{"token", "fixed-token"}, {"host", "api.openai.com"}});
    EXPECT_EQ(told["passes"], true) << told;
    EXPECT_EQ(told["route"], "connect");
    EXPECT_EQ(told["destination"]["port"], 443);
    told = explain(api, {{"token", "fixed-token"}, {"host", "x.example.com:8443"}});
    EXPECT_EQ(told["passes"], true) << told;
    told = explain(api, {{"token", "fixed-token"}, {"host", "x.example.com"}});
    EXPECT_EQ(told["refusal"]["status"], 403);
    EXPECT_EQ(told["refusal"]["detail"], "port_not_allowed");
    told = explain(api, {{"token", "fixed-token"}, {"host", "evil.test"}, {"route", "forward"}});
    EXPECT_EQ(told["destination"]["rule"], "destination_not_listed");
    told = explain(api, {{"host", "api.openai.com"}});
    EXPECT_EQ(told["refusal"]["status"], 407);
}

TEST_F(ManageExplain, RefusesQuestionsThatMakeNoSense)
{
    ProxyUnderTest proxy{config()};
    const ManageApi api(proxy);
    const auto param = [&api](const char* body) {
        return error_param(api.post("/manage/explain", body));
    };
    EXPECT_EQ(param(R"({"token":"x","project":"proj_1"})"), "token");
    EXPECT_EQ(param(R"({"route":"connect"})"), "host");
    EXPECT_EQ(param(R"({"route":"embeddings","host":"a"})"), "host");
    EXPECT_EQ(param(R"({"host":"a","model":"m"})"), "model");
    EXPECT_EQ(param(R"({"host":"a b"})"), "host");
    EXPECT_EQ(ManageApi(proxy, kViewerToken).post("/manage/explain", "{}").status, 200);
    EXPECT_FALSE(has_text(proxy.diagnostics(), "fixed-token"));
}
