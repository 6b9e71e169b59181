// Static tokens, and that neither they nor backend keys show anywhere.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kToken = "canary-client-token-0123456789";
const std::string kKey = "sk-canary-backend-key-0123456789";

class Auth : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{config()};

    [[nodiscard]] GatewayConfig config() const
    {
        GatewayConfig made(backend.url(), "api_key: " + kKey);
        made.auth =
            "{ mode: token, static_tokens: [ { name: team-a, token: \"" + kToken + "\" } ] }";
        return made;
    }
};

}  // namespace

TEST_F(Auth, RefusesMissingAndWrongTokens)
{
    for (const std::string& fields :
         {std::string(), std::string("Authorization: Bearer wrong\r\n"),
          std::string("Authorization: Bearer\r\n"), "Authorization: Basic " + kToken + "\r\n",
          "Authorization: Bearer " + kToken + "x\r\n",
          "Authorization: Bearer " + kToken.substr(1) + "\r\n",
          "Proxy-Authorization: Bearer " + kToken + "\r\n"}) {
        const auto reply = proxy.ask(chat("gpt", false, fields));
        EXPECT_EQ(reply.status, 401) << fields;
        EXPECT_TRUE(reply.head["www-authenticate"].starts_with("Bearer")) << fields;
        const auto error = nlohmann::json::parse(reply.body)["error"];
        EXPECT_EQ(error["type"], "invalid_request_error");
        EXPECT_EQ(error["code"], "invalid_api_key");
        EXPECT_TRUE(error["param"].is_null());
    }
    EXPECT_EQ(backend.bytes_seen(), 0U);
}

TEST_F(Auth, TakesTheTokenFromEachHeader)
{
    for (const auto* name :
         {"Authorization: Bearer ", "authorization: bearer ", "x-api-key: ", "api-key: "}) {
        EXPECT_EQ(proxy.ask(chat("gpt", false, name + kToken + "\r\n")).status, 200) << name;
        const auto head = backend.last_request().head;
        EXPECT_EQ(head["authorization"], "Bearer " + kKey);
        EXPECT_FALSE(has_text(head.raw, kToken));
    }
}

TEST_F(Auth, RefusesBeforeReadingTheBody)
{
    auto client = proxy.connect();
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{");
    EXPECT_EQ(client.response().status, 401);
}

TEST_F(Auth, NamesTheTokenInTheAccessLog)
{
    const auto reply = proxy.ask(chat("gpt", false, "x-api-key: " + kToken + "\r\n"));
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["token"], "team-a");
}

TEST_F(Auth, HealthNeedsNoToken)
{
    EXPECT_EQ(proxy.ask(get("/healthz")).status, 200);
}

TEST_F(Auth, SecretsShowNowhere)
{
    const auto with_token = "Authorization: Bearer " + kToken + "\r\n";
    std::string shown;
    const auto add = [&shown](const Response& reply) { shown += reply.head.raw + reply.body; };
    add(proxy.ask(chat("gpt", false, with_token)));
    add(proxy.ask(chat("gpt", false, "Authorization: Bearer " + kToken + "-wrong\r\n")));
    add(proxy.ask(get("/v1//" + kToken, with_token)));
    add(proxy.ask(post_json("/v1/chat/completions", "{\"model\":" + kToken, with_token)));
    for (const int status : {401, 402, 403}) {
        backend.next([status](Exchange& exchange) {
            exchange.json("{\"error\":{\"message\":\"bad key " + kKey + "\"}}", status);
        });
        add(proxy.ask(chat("gpt", false, with_token)));
    }
    backend.next([](Exchange& exchange) { exchange.close(); });
    const auto last = proxy.ask(chat("gpt", false, with_token));
    add(last);
    ASSERT_TRUE(proxy.access_line(last).is_object());
    shown += proxy.metrics() + proxy.diagnostics();
    EXPECT_FALSE(has_text(shown, kToken));
    EXPECT_FALSE(has_text(shown, kKey));
    EXPECT_FALSE(has_text(proxy.access_log(), kKey));
}
