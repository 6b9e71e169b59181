// Header hygiene of the gateway, both ways (RFC 9110, section 7.6; DESIGN's header table).

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class Headers : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{GatewayConfig(
        backend.url(),
        R"(api_key: sk-backend-key, headers: { X-Extra: "from config", OpenAI-Beta: "v2" })")};
};

}  // namespace

TEST_F(Headers, StripsHopByHopAndConnectionNamedOnes)
{
    proxy.ask(chat("gpt-4o", false,
                   "Connection: keep-alive, X-Hop, x-other-hop\r\nX-Hop: 1\r\nX-Other-Hop: 2\r\n"
                   "Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: Basic eDp5\r\n"
                   "Proxy-Connection: keep-alive\r\nProxy-Anything: 3\r\nX-End: kept\r\n"));
    const auto head = backend.last_request().head;
    for (const auto* name : {"x-hop", "x-other-hop", "keep-alive", "te", "proxy-authorization",
                             "proxy-connection", "proxy-anything", "trailer", "upgrade"}) {
        EXPECT_EQ(head.count(name), 0U) << name;
    }
    EXPECT_EQ(head["x-end"], "kept");
}

TEST_F(Headers, ConnectionCannotRemoveWhatFramesOrRoutes)
{
    const auto reply = proxy.ask(
        chat("gpt-4o", false, "Connection: content-length, host, authorization, x-request-id\r\n"));
    if (reply.status == 200) {
        const auto seen = backend.last_request();
        EXPECT_EQ(seen.body, chat_body());
        EXPECT_EQ(seen.head.count("host"), 1U);
        EXPECT_EQ(seen.head["authorization"], "Bearer sk-backend-key");
    } else {
        EXPECT_EQ(reply.status, 400);
    }
}

TEST_F(Headers, AddsVia)
{
    proxy.ask(chat("gpt-4o", false, "Via: 1.1 other\r\n"));
    const auto head = backend.last_request().head;
    std::string all;
    for (const auto& field : head.fields) {
        if (same_text(field.name, "via")) {
            all += field.value + ",";
        }
    }
    EXPECT_TRUE(has_text(all, "1.1 other"));
    EXPECT_TRUE(has_text(all, "1.1 llm-proxy-")) << all;
}

TEST_F(Headers, FindsLoopsByVia)
{
    proxy.ask(chat());
    const auto via = backend.last_request().head["via"];
    ASSERT_TRUE(has_text(via, "llm-proxy-"));
    const auto reply = proxy.ask(chat("gpt-4o", false, "Via: 1.0 a, " + via + "\r\n"));
    EXPECT_EQ(reply.status, 508);
    EXPECT_EQ(error_code(reply), "loop_detected");
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, "Via: 1.1 llm-proxy-another\r\n")).status, 200);
    EXPECT_EQ(backend.request_count(), 2U);
}

TEST_F(Headers, SwapsCredentials)
{
    proxy.ask(chat("gpt-4o", false,
                   "Authorization: Bearer mine\r\nX-Api-Key: mine\r\napi-key: mine\r\n"
                   "OpenAI-Organization: org\r\nOpenAI-Project: proj\r\n"));
    const auto head = backend.last_request().head;
    EXPECT_EQ(head["authorization"], "Bearer sk-backend-key");
    EXPECT_EQ(head.count("authorization"), 1U);
    for (const auto* name : {"x-api-key", "api-key", "openai-organization", "openai-project"}) {
        EXPECT_EQ(head.count(name), 0U) << name;
    }
    EXPECT_FALSE(has_text(head.raw, "mine"));
}

TEST_F(Headers, AddsTheBackendsOwn)
{
    proxy.ask(chat("gpt-4o", false, "OpenAI-Beta: client\r\n"));
    const auto head = backend.last_request().head;
    EXPECT_EQ(head["x-extra"], "from config");
    EXPECT_EQ(head.count("openai-beta"), 1U);
    EXPECT_EQ(head["openai-beta"], "v2");
}

TEST(OwnAuthorization, TakesTheKeysPlace)
{
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{GatewayConfig(
        backend.url(),
        R"(api_key: sk-backend-key, headers: { Authorization: "Token from-config" })")};
    auto client = proxy.connect();
    EXPECT_EQ(client.ask(chat()).status, 200);
    const auto seen = backend.last_request();
    EXPECT_EQ(seen.head.count("authorization"), 1U);
    EXPECT_EQ(seen.head["authorization"], "Token from-config");
}

TEST_F(Headers, KeepsSaneRequestIds)
{
    const auto reply = proxy.ask(chat("gpt-4o", false, "X-Request-Id: my-id.42\r\n"));
    EXPECT_EQ(backend.last_request().head["x-request-id"], "my-id.42");
    EXPECT_EQ(reply.head["x-request-id"], "my-id.42");
    EXPECT_EQ(reply.head["x-llm-proxy-request-id"], "my-id.42");
}

TEST_F(Headers, ReplacesInsaneRequestIds)
{
    for (const std::string& bad :
         {std::string("a b"), std::string("x\"y"), std::string(200, 'a')}) {
        const auto reply = proxy.ask(chat("gpt-4o", false, "X-Request-Id: " + bad + "\r\n"));
        const auto made = reply.head["x-llm-proxy-request-id"];
        EXPECT_EQ(made.size(), 36U) << made;
        EXPECT_EQ(backend.last_request().head["x-request-id"], made);
    }
    EXPECT_NE(proxy.ask(chat()).head["x-llm-proxy-request-id"],
              proxy.ask(chat()).head["x-llm-proxy-request-id"]);
}

TEST_F(Headers, TellsAboutItselfInReplies)
{
    backend.always([](Exchange& exchange) {
        exchange.reply(200, "{}",
                       "X-Request-Id: theirs\r\nX-Custom: kept\r\nConnection: keep-alive, X-Hop\r\n"
                       "X-Hop: 1\r\nKeep-Alive: timeout=9\r\n");
    });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.head["x-request-id"], "theirs");
    EXPECT_EQ(reply.head.count("x-request-id"), 1U);
    EXPECT_EQ(reply.head["x-custom"], "kept");
    EXPECT_EQ(reply.head["x-llm-proxy-backend"], "b1");
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "1");
    EXPECT_TRUE(has_text(reply.head["server-timing"], "proxy;dur="));
    EXPECT_EQ(reply.head.count("x-hop"), 0U);
    EXPECT_EQ(reply.head.count("keep-alive"), 0U);
}

TEST_F(Headers, AsksForIdentityOnInferenceRoutes)
{
    proxy.ask(chat("gpt-4o", false, "Accept-Encoding: gzip, deflate\r\n"));
    EXPECT_EQ(backend.last_request().head["accept-encoding"], "identity");
    EXPECT_EQ(backend.last_request().head.count("accept-encoding"), 1U);
}

TEST_F(Headers, KeepsRepeatedFieldsInOrder)
{
    backend.always([](Exchange& exchange) {
        exchange.reply(200, "{}", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n");
    });
    const auto reply = proxy.ask(chat("gpt-4o", false, "X-Many: 1\r\nX-Many: 2\r\n"));
    EXPECT_EQ(reply.head.count("set-cookie"), 2U);
    EXPECT_EQ(backend.last_request().head.count("x-many"), 2U);
    EXPECT_EQ(backend.last_request().head["x-many"], "1");
}

TEST_F(Headers, OwnErrorsHaveOpenAisShape)
{
    const auto reply = proxy.ask(post_json("/v1/chat/completions", "{\"model\":"));
    EXPECT_EQ(reply.status, 400);
    const auto parsed = nlohmann::json::parse(reply.body);
    ASSERT_TRUE(parsed["error"].is_object());
    for (const auto* key : {"message", "type", "param", "code"}) {
        EXPECT_TRUE(parsed["error"].contains(key)) << key;
    }
    EXPECT_EQ(parsed["error"]["type"], "invalid_request_error");
    EXPECT_EQ(reply.head["content-type"].rfind("application/json", 0), 0U);
    EXPECT_FALSE(reply.head["x-llm-proxy-request-id"].empty());
}

TEST_F(Headers, UpstreamsRefusalOfOurKeyIsNotTheClientsFault)
{
    backend.always([](Exchange& exchange) {
        exchange.json(R"({"error":{"message":"Incorrect API key sk-backend-key"}})", 401);
    });
    const auto refused = proxy.ask(chat());
    EXPECT_EQ(refused.status, 502);
    EXPECT_EQ(error_code(refused), "upstream_credentials_rejected");
    EXPECT_FALSE(has_text(refused.body, "sk-backend-key"));
    backend.always([](Exchange& exchange) {
        exchange.json(R"({"error":{"message":"no quota for sk-backend-key"}})", 403);
    });
    const auto forbidden = proxy.ask(chat());
    EXPECT_EQ(forbidden.status, 403);
    EXPECT_TRUE(has_text(forbidden.body, "no quota for"));
    EXPECT_FALSE(has_text(forbidden.body, "sk-backend-key"));
    EXPECT_TRUE(forbidden.complete());
}
