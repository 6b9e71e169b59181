#include "mock_client.hpp"

#include <gmock/gmock.h>

#include <chrono>

namespace llmproxy::upstream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kChat = "/v1/chat/completions";

TEST_F(MockProviderTest, EchoesTheModelWithoutKnobs)
{
    auto client = connect();
    const auto reply =
        client.post(kChat, chat_request("mock-gpt?latency=1us&interval=0ms&chunks=2", "Hi"));
    ASSERT_EQ(reply.status, 200);
    EXPECT_EQ(reply.json()["model"], "mock-gpt");
}

TEST_F(MockProviderTest, SendsAsManyContentEventsAsChunksSays)
{
    auto client = connect();
    for (const std::size_t chunks : {1U, 5U, 100U}) {
        const auto model = "mock-gpt?interval=10us&chunks=" + std::to_string(chunks);
        EXPECT_EQ(client.post(kChat, chat_request(model, "Hi", true)).chunks.size(), chunks + 3);
    }
}

TEST_F(MockProviderTest, FailsWithTheStatusAskedFor)
{
    auto client = connect();
    for (const int status : {400, 401, 402, 403, 404, 408, 429, 500, 502, 503, 529, 599}) {
        const auto reply =
            client.post(kChat, chat_request("m?error=" + std::to_string(status), "Hi", true));
        EXPECT_EQ(reply.status, status);
        EXPECT_EQ(reply.has("Retry-After: 1"), status == 429 || status == 503);
        EXPECT_TRUE(reply.json()["error"]["type"].is_string());
        EXPECT_TRUE(reply.json()["error"].contains("code"));
    }
    EXPECT_EQ(client.post(kChat, chat_request("m?error=429", "Hi")).json()["error"]["code"],
              "rate_limit_exceeded");
}

TEST_F(MockProviderTest, FailsAnEvenShareOfRequests)
{
    auto client = connect();
    std::string seen;
    for (int i = 0; i < 8; ++i) {
        const auto model = "m?error=503&error_rate=0.25";
        seen += client.post(kChat, chat_request(model, "Hi")).status == 503 ? 'x' : '.';
    }
    EXPECT_EQ(seen, "...x...x");
    EXPECT_EQ(client.post(kChat, chat_request("m?error_rate=0", "Hi")).status, 200);
    EXPECT_EQ(client.post(kChat, chat_request("m?error_rate=1", "Hi")).status, 500);
}

TEST_F(MockProviderTest, TakesItsDefaultsFromTheSettings)
{
    MockSettings settings;
    settings.chunks = 3;
    settings.error_rate = 0.5;
    settings.error_status = 502;
    settings.latency = std::chrono::microseconds(1);
    settings.chunk_interval = std::chrono::microseconds(1);
    configure(settings);
    auto client = connect();
    EXPECT_EQ(client.post(kChat, chat_request("m", "Hi", true)).chunks.size(), 6U);
    EXPECT_EQ(client.post(kChat, chat_request("m", "Hi")).status, 502);
    EXPECT_EQ(client.post(kChat, chat_request("m?chunks=4&error_rate=0", "Hi", true)).chunks.size(),
              7U);
}

TEST_F(MockProviderTest, StartsAStreamWithAnErrorFrame)
{
    auto client = connect();
    const auto chat = client.post(kChat, chat_request("m?error_frame=1&error=503", "Hi", true));
    EXPECT_EQ(chat.status, 200);
    EXPECT_TRUE(chat.complete);
    ASSERT_EQ(chat.chunks.size(), 1U);
    EXPECT_THAT(chat.chunks[0], HasSubstr(R"(data: {"error":{"message":)"));
    EXPECT_THAT(chat.chunks[0], HasSubstr(R"("type":"overloaded_error")"));

    nlohmann::json request = {{"model", "m?error_frame=1"}, {"input", "Hi"}, {"stream", true}};
    const auto responses = client.post("/v1/responses", request);
    ASSERT_EQ(responses.chunks.size(), 1U);
    EXPECT_EQ(responses.chunks[0].rfind("event: error\ndata: {", 0), 0U);
    EXPECT_THAT(responses.chunks[0], HasSubstr(R"("type":"error")"));
    EXPECT_EQ(client.post(kChat, chat_request("m?error_frame=1", "Hi")).status, 500);
}

TEST_F(MockProviderTest, CutsAStreamAfterSoManyEvents)
{
    for (const std::size_t events : {0U, 1U, 3U, 11U, 99U}) {
        auto client = connect();
        const auto reply =
            client.post(kChat, chat_request("m?cut=" + std::to_string(events), "Hi", true));
        EXPECT_EQ(reply.status, 200);
        EXPECT_FALSE(reply.complete);
        EXPECT_EQ(reply.chunks.size(), std::min<std::size_t>(events, 11));
        EXPECT_EQ(client.read_to_end(), "");
    }
}

TEST_F(MockProviderTest, CutsAJsonReplyBeforeItsLastByte)
{
    for (const std::size_t bytes : {0U, 10U, 1'000'000U}) {
        auto client = connect();
        const auto reply = client.post(kChat, chat_request("m?cut=" + std::to_string(bytes), "Hi"));
        EXPECT_FALSE(reply.complete);
        EXPECT_TRUE(bytes > 10 || reply.body.size() == bytes);
    }
}

TEST_F(MockProviderTest, FillsTheContentToTheBytesAskedFor)
{
    auto client = connect();
    for (const std::size_t bytes : {0U, 3U, 20'000U}) {
        const auto model = "m?bytes=" + std::to_string(bytes);
        const auto content = client.post(kChat, chat_request(model, "Hi"))
                                 .json()["choices"][0]["message"]["content"];
        EXPECT_EQ(content.get<std::string>().size(), bytes);
        const auto stream = client.post(kChat, chat_request(model, "Hi", true));
        EXPECT_EQ(stream.chunks.size(), std::min<std::size_t>(bytes, 8) + 3);
    }
    const auto speech = client.post("/v1/audio/speech",
                                    nlohmann::json::parse(R"({"model":"m?bytes=0","input":"Hi"})"));
    EXPECT_TRUE(speech.complete);
    EXPECT_TRUE(speech.body.empty());
}

TEST_F(MockProviderTest, OmitsUsageWhenToldSo)
{
    auto client = connect();
    EXPECT_FALSE(client.post(kChat, chat_request("m?usage=0", "Hi")).json().contains("usage"));
    auto request = chat_request("m?usage=0", "Hi", true);
    request["stream_options"]["include_usage"] = true;
    EXPECT_THAT(client.post(kChat, request).body, Not(HasSubstr("usage")));
    EXPECT_TRUE(client.post(kChat, chat_request("m?usage=1", "Hi")).json().contains("usage"));
}

TEST_F(MockProviderTest, RefusesBadKnobsByName)
{
    auto client = connect();
    const std::vector<std::string> bad{"latency=20",
                                       "latency=-1ms",
                                       "interval=5m",
                                       "interval=3601s",
                                       "chunks=0",
                                       "chunks=1000001",
                                       "error=200",
                                       "error=600",
                                       "error_rate=1.1",
                                       "error_rate=nan",
                                       "error_rate=-0.1",
                                       "error_frame=2",
                                       "usage=no",
                                       "cut=-1",
                                       "cut=",
                                       "bytes=67108865",
                                       "bytes=1x",
                                       "speed=1",
                                       "chunks",
                                       "latency=99999999999999999999s"};
    for (const auto& knob : bad) {
        const auto reply = client.post(kChat, chat_request("m?" + knob, "Hi"));
        EXPECT_EQ(reply.status, 400) << knob;
        EXPECT_EQ(reply.json()["error"]["param"], "model");
        EXPECT_THAT(reply.json()["error"]["message"].get<std::string>(),
                    HasSubstr("'" + knob.substr(0, knob.find('=')) + "'"));
    }
}

}  // namespace
}  // namespace llmproxy::upstream
