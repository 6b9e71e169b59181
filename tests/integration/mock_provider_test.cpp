// The provider inside the process, as a newcomer meets it.

#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class MockProvider : public testing::Test {
protected:
    ProxyUnderTest proxy{
        GatewayConfig().backend("mock", "mock", R"(["mock-*"])").set("default_backend", "mock")};
};

}  // namespace

TEST_F(MockProvider, AnswersChat)
{
    const auto reply = proxy.ask(chat("mock-gpt"));
    ASSERT_EQ(reply.status, 200);
    const auto parsed = nlohmann::json::parse(reply.body);
    EXPECT_EQ(parsed["object"], "chat.completion");
    EXPECT_EQ(parsed["choices"][0]["message"]["role"], "assistant");
    EXPECT_FALSE(parsed["choices"][0]["message"]["content"].get<std::string>().empty());
    EXPECT_GT(parsed["usage"]["total_tokens"], 0);
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["backend"], "mock");
    EXPECT_EQ(line["input_tokens"], parsed["usage"]["prompt_tokens"]);
}

TEST_F(MockProvider, StreamsWithTheKnobsOfTheModelName)
{
    const auto reply = proxy.ask(chat("mock-gpt?chunks=5", true));
    ASSERT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.head["content-type"].rfind("text/event-stream", 0), 0U);
    EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
    EXPECT_FALSE(has_text(reply.body, "\"choices\":[]"));
    std::size_t with_content = 0;
    for (auto at = reply.body.find("\"content\":\""); at != std::string::npos;
         at = reply.body.find("\"content\":\"", at + 1)) {
        with_content += reply.body.compare(at, 12, "\"content\":\"\"") == 0 ? 0 : 1;
    }
    EXPECT_EQ(with_content, 5U) << reply.body;
}

TEST_F(MockProvider, IsDeterministic)
{
    const auto content = [](const Response& reply) {
        return nlohmann::json::parse(reply.body)["choices"][0]["message"]["content"]
            .get<std::string>();
    };
    EXPECT_EQ(content(proxy.ask(chat("mock-gpt"))), content(proxy.ask(chat("mock-gpt"))));
}

TEST_F(MockProvider, AnswersTheOtherRoutes)
{
    const auto embeddings =
        proxy.ask(post_json("/v1/embeddings", R"({"model":"mock-embed","input":["a","b"]})"));
    EXPECT_EQ(nlohmann::json::parse(embeddings.body)["data"].size(), 2U);
    const auto completion =
        proxy.ask(post_json("/v1/completions", R"({"model":"mock-gpt","prompt":"x"})"));
    EXPECT_EQ(nlohmann::json::parse(completion.body)["object"], "text_completion");
    const auto models = nlohmann::json::parse(proxy.ask(get("/v1/models")).body);
    EXPECT_FALSE(models["data"].empty());
}

TEST_F(MockProvider, FailsOnDemand)
{
    auto client = proxy.connect();
    const auto reply = client.ask(chat("mock-gpt?error=529"));
    EXPECT_EQ(reply.status, 529);
    EXPECT_EQ(client.ask(chat("mock-gpt")).status, 200);
}
