// Usage: asked for, hidden from clients that did not ask, and written down.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kEvent =
    "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
const std::string kUsage =
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6,"
    "\"total_tokens\":11,\"prompt_tokens_details\":{\"cached_tokens\":2},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n";
const std::string kDone = "data: [DONE]\n\n";

class Usage : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) {
        exchange.begin_sse();
        for (const auto& piece : {kEvent, kEvent, kUsage, kDone}) {
            exchange.piece(piece);
        }
        exchange.last();
    }};
    ProxyUnderTest proxy{GatewayConfig(backend.url())};

    void expect_logged(const Response& reply)
    {
        const auto line = proxy.access_line(reply);
        ASSERT_TRUE(line.is_object());
        EXPECT_EQ(line["input_tokens"], 5);
        EXPECT_EQ(line["output_tokens"], 6);
        EXPECT_EQ(line["cached_tokens"], 2);
        EXPECT_EQ(line["reasoning_tokens"], 3);
        EXPECT_EQ(line["stream"], true);
        EXPECT_EQ(line["outcome"], "ok");
    }
};

}  // namespace

TEST_F(Usage, IsAskedForAndHiddenWhenTheClientDidNot)
{
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.body, kEvent + kEvent + kDone);
    auto sent = nlohmann::json::parse(backend.last_request().body);
    EXPECT_EQ(sent["stream_options"]["include_usage"], true);
    sent.erase("stream_options");
    EXPECT_EQ(sent, nlohmann::json::parse(chat_body("m", true)));
    expect_logged(reply);
}

TEST_F(Usage, IsShownToClientsThatAsked)
{
    const std::string body =
        R"({"stream_options":{"include_usage":true},"messages":[],"model":"m","stream":true})";
    const auto reply = proxy.ask(post_json("/v1/chat/completions", body));
    EXPECT_EQ(reply.body, kEvent + kEvent + kUsage + kDone);
    EXPECT_EQ(backend.last_request().body, body);
    expect_logged(reply);
}

TEST_F(Usage, IsHiddenHoweverItArrives)
{
    const auto whole = kEvent + kUsage + kDone;
    for (std::size_t at = kEvent.size() - 3; at < whole.size(); ++at) {
        backend.next([whole, at](Exchange& exchange) {
            exchange.begin_sse();
            exchange.piece(std::string_view(whole).substr(0, at));
            exchange.piece(std::string_view(whole).substr(at));
            exchange.last();
        });
        const auto reply = proxy.ask(chat("m", true));
        ASSERT_TRUE(reply.complete()) << at;
        ASSERT_EQ(reply.body, kEvent + kDone) << "split at " << at;
    }
}

TEST_F(Usage, IsHiddenFromTextCompletionsToo)
{
    const auto reply =
        proxy.ask(post_json("/v1/completions", R"({"model":"m","stream":true,"prompt":"x"})"));
    EXPECT_EQ(reply.body, kEvent + kEvent + kDone);
    expect_logged(reply);
}

TEST_F(Usage, IsNotAskedForElsewhere)
{
    const std::string body = R"({"model":"m","stream":true,"input":"x"})";
    const auto reply = proxy.ask(post_json("/v1/responses", body));
    EXPECT_EQ(backend.last_request().body, body);
    EXPECT_EQ(reply.body, kEvent + kEvent + kUsage + kDone);
    const auto quiet = chat_body("m", false);
    backend.next([](Exchange& exchange) { exchange.json("{}"); });
    proxy.ask(chat("m", false));
    EXPECT_EQ(backend.last_request().body, quiet);
}

TEST_F(Usage, OtherBlocksWithoutChoicesStay)
{
    const std::string filter =
        "data: {\"id\":\"\",\"choices\":[],\"prompt_filter_results\":[]}\n\n";
    const std::string both = "data: "
                             "{\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1,"
                             "\"completion_tokens\":2}}\n\n";
    const std::string nothing = "data: {\"choices\":[],\"usage\":null}\n\n";
    backend.next([filter, both, nothing](Exchange& exchange) {
        exchange.begin_sse();
        for (const auto& piece : {filter, both, nothing, kDone}) {
            exchange.piece(piece);
        }
        exchange.last();
    });
    EXPECT_EQ(proxy.ask(chat("m", true)).body, filter + both + nothing + kDone);
}

TEST_F(Usage, StopsAskingABackendThatDoesNotKnowTheOption)
{
    backend.next([](Exchange& exchange) {
        exchange.json(R"({"error":{"message":"Unrecognized request argument: stream_options"}})",
                      400);
    });
    // The client asked for no such option, so it does not see the refusal of it.
    EXPECT_EQ(proxy.ask(chat("m", true)).status, 200);
    EXPECT_EQ(backend.request_count(), 2U);
    EXPECT_EQ(backend.last_request().body, chat_body("m", true));
    proxy.ask(chat("m", true));
    EXPECT_EQ(backend.request_count(), 3U);
    EXPECT_EQ(backend.last_request().body, chat_body("m", true));
}

TEST_F(Usage, RefusalsOfOptionsThatTheClientAskedForAreItsOwn)
{
    const std::string refusal =
        R"({"error":{"message":"Unrecognized request argument: stream_options"}})";
    backend.next([refusal](Exchange& exchange) { exchange.json(refusal, 400); });
    const auto reply = proxy.ask(
        post_json("/v1/chat/completions",
                  R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})"));
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(reply.body, refusal);
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST(UsageOff, LeavesBodiesAlone)
{
    FakeBackend backend([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece(kUsage);
        exchange.piece(kDone);
        exchange.last();
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url(), "inject_usage: off")};
    EXPECT_EQ(proxy.ask(chat("m", true)).body, kUsage + kDone);
    EXPECT_EQ(backend.last_request().body, chat_body("m", true));
}
