#include "llmproxy/upstream/mock_provider.hpp"

#include "mock_client.hpp"

#include <gmock/gmock.h>

#include <bit>

namespace llmproxy::upstream {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

/// The JSON of each `data:` line of an event stream, without `[DONE]`.
std::vector<json> events_of(const WireReply& reply)
{
    std::vector<json> events;
    for (const auto& chunk : reply.chunks) {
        const auto at = chunk.find("data: ");
        if (at != std::string::npos && chunk.find("[DONE]") == std::string::npos) {
            events.push_back(json::parse(chunk.substr(at + 6)));
        }
    }
    return events;
}

json with_tools(json request)
{
    const auto function = json::parse(R"({"name":"weather","parameters":{"type":"object",
        "properties":{"city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["c","f"]},
        "extra":{"type":"boolean"}},"required":["city","days","unit"]}})");
    json tool = {{"type", "function"}};
    tool["function"] = function;
    request["tools"].push_back(std::move(tool));
    return request;
}

TEST_F(MockProviderTest, AnswersChatWithAnEchoAndUsage)
{
    auto client = connect();
    const auto reply = client.post("/v1/chat/completions", chat_request("mock-gpt", "Hello!!!"));
    ASSERT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.has("Content-Type: application/json"));
    EXPECT_THAT(reply.head, HasSubstr("\r\nDate: "));
    EXPECT_THAT(reply.head, HasSubstr("\r\nx-request-id: req_mock"));
    const auto body = reply.json();
    EXPECT_EQ(body["id"].get<std::string>().rfind("chatcmpl-mock", 0), 0U);
    EXPECT_EQ(body["object"], "chat.completion");
    EXPECT_GT(body["created"].get<std::int64_t>(), 0);
    EXPECT_EQ(body["model"], "mock-gpt");
    EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
    EXPECT_EQ(body["choices"][0]["message"]["content"], "You said: Hello!!!");
    EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(body["usage"]["prompt_tokens"], 2);
    EXPECT_EQ(body["usage"]["completion_tokens"], 5);
    EXPECT_EQ(body["usage"]["total_tokens"], 7);
}

TEST_F(MockProviderTest, ReadsTheLastUserMessageInParts)
{
    const auto request = json::parse(R"({"model":"m","messages":[{"role":"user","content":"no"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},
        {"type":"text","text":"b"}]},
        {"role":"assistant","content":"c"}]})");
    auto client = connect();
    const auto body = client.post("/v1/chat/completions", request).json();
    EXPECT_EQ(body["choices"][0]["message"]["content"], "You said: ab");
    EXPECT_EQ(body["usage"]["prompt_tokens"], 2);
}

TEST_F(MockProviderTest, StreamsChatOneChunkPerEvent)
{
    auto client = connect();
    const auto reply =
        client.post("/v1/chat/completions", chat_request("mock-gpt", "Grüße aus Köln", true));
    ASSERT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.complete);
    EXPECT_TRUE(reply.has("Content-Type: text/event-stream; charset=utf-8"));
    ASSERT_EQ(reply.chunks.size(), 11U);  // role, 8 of content, finish, [DONE]
    EXPECT_EQ(reply.chunks.back(), "data: [DONE]\n\n");
    const auto events = events_of(reply);
    std::string content;
    for (const auto& event : events) {
        EXPECT_EQ(event["object"], "chat.completion.chunk");
        EXPECT_EQ(event["id"], events[0]["id"]);
        EXPECT_FALSE(event.contains("usage"));
        content += event["choices"][0]["delta"].value("content", "");
    }
    EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
    EXPECT_EQ(content, "You said: Grüße aus Köln");
    EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "stop");
}

TEST_F(MockProviderTest, SendsTheUsageEventOnlyWhenAsked)
{
    auto request = chat_request("mock-gpt", "Hi", true);
    request["stream_options"]["include_usage"] = true;
    auto client = connect();
    const auto reply = client.post("/v1/chat/completions", request);
    const auto events = events_of(reply);
    ASSERT_EQ(events.size(), 11U);
    EXPECT_TRUE(events.front()["usage"].is_null());
    EXPECT_TRUE(events.back()["choices"].empty());
    EXPECT_EQ(events.back()["usage"]["total_tokens"], 4);
    EXPECT_EQ(reply.chunks.back(), "data: [DONE]\n\n");
}

TEST_F(MockProviderTest, CallsTheFirstToolWithItsRequiredArguments)
{
    auto client = connect();
    const auto request = with_tools(chat_request("mock-gpt", "Rain?"));
    const auto choice = client.post("/v1/chat/completions", request).json()["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "tool_calls");
    EXPECT_TRUE(choice["message"]["content"].is_null());
    const auto call = choice["message"]["tool_calls"][0];
    EXPECT_EQ(call["type"], "function");
    EXPECT_EQ(call["function"]["name"], "weather");
    EXPECT_EQ(call["function"]["arguments"], R"({"city":"mock","days":1,"unit":"c"})");
}

TEST_F(MockProviderTest, StreamsToolArgumentsInPieces)
{
    auto client = connect();
    const auto reply =
        client.post("/v1/chat/completions", with_tools(chat_request("mock-gpt", "Rain?", true)));
    const auto events = events_of(reply);
    ASSERT_EQ(events.size(), 10U);
    EXPECT_EQ(events[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "weather");
    std::string arguments;
    for (const auto& event : events) {
        const auto delta = event["choices"][0]["delta"];
        if (delta.contains("tool_calls")) {
            arguments += delta["tool_calls"][0]["function"]["arguments"].get<std::string>();
        }
    }
    EXPECT_EQ(arguments, R"({"city":"mock","days":1,"unit":"c"})");
    EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "tool_calls");
}

TEST_F(MockProviderTest, AnswersInTextAfterAToolOrWhenToolsAreOff)
{
    auto client = connect();
    auto off = with_tools(chat_request("mock-gpt", "Rain?"));
    off["tool_choice"] = "none";
    auto after = with_tools(chat_request("mock-gpt", "Rain?"));
    after["messages"].push_back(
        json::parse(R"({"role":"tool","tool_call_id":"x","content":"yes"})"));
    for (const auto& request : {off, after}) {
        const auto choice = client.post("/v1/chat/completions", request).json()["choices"][0];
        EXPECT_EQ(choice["message"]["content"], "You said: Rain?");
        EXPECT_EQ(choice["finish_reason"], "stop");
    }
}

TEST_F(MockProviderTest, AnswersCompletionsWholeAndStreamed)
{
    auto request = json::parse(R"({"model":"mock-gpt","prompt":"Once"})");
    auto client = connect();
    const auto whole = client.post("/v1/completions", request).json();
    EXPECT_EQ(whole["object"], "text_completion");
    EXPECT_EQ(whole["choices"][0]["text"], "You said: Once");
    EXPECT_EQ(whole["usage"]["prompt_tokens"], 1);

    request["stream"] = true;
    request["stream_options"]["include_usage"] = true;
    const auto reply = client.post("/v1/completions", request);
    const auto events = events_of(reply);
    ASSERT_EQ(events.size(), 10U);
    std::string text;
    for (std::size_t i = 0; i + 1 < events.size(); ++i) {
        text += events[i]["choices"][0]["text"].get<std::string>();
    }
    EXPECT_EQ(text, "You said: Once");
    EXPECT_TRUE(events.back()["choices"].empty());
    EXPECT_EQ(events.back()["usage"]["completion_tokens"], 4);
    EXPECT_EQ(reply.chunks.back(), "data: [DONE]\n\n");
}

TEST_F(MockProviderTest, EmbedsDeterministicallyAsFloatsAndBase64)
{
    auto client = connect();
    auto request =
        json::parse(R"({"model":"mock-embed","input":["one","two","one"],"dimensions":3})");
    const auto floats = client.post("/v1/embeddings", request).json();
    ASSERT_EQ(floats["data"].size(), 3U);
    EXPECT_EQ(floats["object"], "list");
    EXPECT_EQ(floats["data"][1]["index"], 1);
    EXPECT_EQ(floats["data"][0]["embedding"], floats["data"][2]["embedding"]);
    EXPECT_NE(floats["data"][0]["embedding"], floats["data"][1]["embedding"]);
    EXPECT_EQ(floats["usage"]["prompt_tokens"], 3);

    request["encoding_format"] = "base64";
    const auto packed = client.post("/v1/embeddings", request).json();
    // 12 bytes are 16 digits without padding; the first four digits are the first three bytes.
    const auto text = packed["data"][0]["embedding"].get<std::string>();
    ASSERT_EQ(text.size(), 16U);
    const auto bits = std::bit_cast<std::uint32_t>(floats["data"][0]["embedding"][0].get<float>());
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::uint32_t decoded = 0;
    for (const char digit : text.substr(0, 4)) {
        decoded = decoded << 6U | static_cast<std::uint32_t>(kDigits.find(digit));
    }
    EXPECT_EQ(decoded >> 16U, bits & 0xffU);
    EXPECT_EQ(decoded >> 8U & 0xffU, bits >> 8U & 0xffU);
    EXPECT_EQ(decoded & 0xffU, bits >> 16U & 0xffU);
}

TEST_F(MockProviderTest, EmbedsTokensIntoUnitVectorsOf256)
{
    auto client = connect();
    const auto one =
        client.post("/v1/embeddings", json::parse(R"({"model":"e","input":[1,2,3]})")).json();
    ASSERT_EQ(one["data"].size(), 1U);
    EXPECT_EQ(one["usage"]["total_tokens"], 3);
    ASSERT_EQ(one["data"][0]["embedding"].size(), 256U);
    double squares = 0;
    for (const auto& value : one["data"][0]["embedding"]) {
        squares += value.get<double>() * value.get<double>();
    }
    EXPECT_NEAR(squares, 1.0, 1e-5);
    const auto two =
        client.post("/v1/embeddings", json::parse(R"({"model":"e","input":[[1],[2]]})")).json();
    EXPECT_EQ(two["data"].size(), 2U);
}

TEST_F(MockProviderTest, AnswersResponsesWholeAndAsNamedEvents)
{
    auto request = json::parse(R"({"model":"mock-gpt","instructions":"1234",
        "input":[{"role":"user","content":[{"type":"input_text","text":"Hello"}]}]})");
    auto client = connect();
    const auto whole = client.post("/v1/responses", request).json();
    EXPECT_EQ(whole["object"], "response");
    EXPECT_EQ(whole["status"], "completed");
    EXPECT_EQ(whole["output"][0]["content"][0]["text"], "You said: Hello");
    EXPECT_EQ(whole["usage"]["input_tokens"], 3);
    EXPECT_EQ(whole["usage"]["output_tokens"], 4);

    request["input"] = "Hello";
    request["stream"] = true;
    const auto reply = client.post("/v1/responses", request);
    EXPECT_TRUE(reply.complete);
    const auto events = events_of(reply);
    ASSERT_EQ(events.size(), 16U);
    std::string text;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto type = events[i]["type"].get<std::string>();
        EXPECT_EQ(reply.chunks[i].rfind("event: " + type + "\ndata: {", 0), 0U);
        EXPECT_EQ(events[i]["sequence_number"], i);
        text += type == "response.output_text.delta" ? events[i]["delta"].get<std::string>() : "";
    }
    EXPECT_EQ(text, "You said: Hello");
    EXPECT_EQ(events.front()["type"], "response.created");
    EXPECT_EQ(events.back()["type"], "response.completed");
    EXPECT_EQ(events.back()["response"]["usage"]["total_tokens"], 7);
}

TEST_F(MockProviderTest, ListsAndRetrievesModels)
{
    auto client = connect();
    const auto list = client.get("/v1/models?x=1").json();
    ASSERT_EQ(list["data"].size(), 2U);
    EXPECT_EQ(list["data"][0]["id"], "mock-gpt");
    EXPECT_EQ(client.get("/v1/models/mock-embed").json()["object"], "model");
    const auto missing = client.get("/v1/models/gpt-4");
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(missing.json()["error"]["code"], "model_not_found");

    client.send("HEAD /v1/models HTTP/1.1\r\nHost: mock\r\n\r\n");
    EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("\r\nContent-Length: "));
    EXPECT_EQ(client.get("/v1/models").status, 200);
}

TEST_F(MockProviderTest, SpeaksBinaryAudioInChunks)
{
    const auto request =
        json::parse(R"({"model":"mock-tts?bytes=1000&chunks=3","input":"Hi","voice":"x"})");
    auto client = connect();
    const auto reply = client.post("/v1/audio/speech", request);
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.has("Content-Type: audio/mpeg"));
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.chunks.size(), 3U);
    EXPECT_EQ(reply.body.size(), 1000U);
    EXPECT_EQ(client.post("/v1/audio/speech", request).body, reply.body);
}

TEST_F(MockProviderTest, TakesFilesAndCountsTheirBytes)
{
    const std::string content = "line\r\n--almost\r\n-- \r\n" + std::string(100'000, 'x');
    const std::string form =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n"
        "Content-Type: text/plain\r\n\r\n" +
        content +
        "\r\n--B\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--B--\r\n";
    auto client = connect();
    const auto file = client.post("/v1/files", "multipart/form-data; boundary=B", form);
    ASSERT_EQ(file.status, 200) << file.body;
    EXPECT_EQ(file.json()["id"].get<std::string>().rfind("file-mock", 0), 0U);
    EXPECT_EQ(file.json()["bytes"], content.size());
    EXPECT_EQ(file.json()["filename"], "a.jsonl");
    EXPECT_EQ(file.json()["purpose"], "batch");

    const auto cut =
        client.post("/v1/files", "multipart/form-data; boundary=B", form.substr(0, 50'000));
    EXPECT_EQ(cut.status, 400);
    EXPECT_EQ(client.post("/v1/files", "application/json", "{}").status, 400);
}

TEST_F(MockProviderTest, TranscribesByCounting)
{
    const std::string form =
        "--B\r\nContent-Disposition: form-data; name=model\r\n\r\nmock-whisper\r\n"
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n"
        "12345\r\n--B--";
    auto client = connect();
    const auto reply =
        client.post("/v1/audio/transcriptions", "multipart/form-data; boundary=\"B\"", form);
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.json()["bytes"], 5);
    EXPECT_EQ(reply.json()["text"], "You sent 5 bytes of audio.");
}

TEST_F(MockProviderTest, RefusesWhatItDoesNotKnowInOpenAisShape)
{
    auto client = connect();
    const auto unknown = client.get("/v1/realtime");
    EXPECT_EQ(unknown.status, 404);
    EXPECT_EQ(unknown.json()["error"]["message"], "Invalid URL (GET /v1/realtime)");
    EXPECT_EQ(unknown.json()["error"]["type"], "invalid_request_error");
    EXPECT_EQ(client.post("/v1/nothing", json::object()).status, 404);
    const auto method = client.get("/v1/chat/completions");
    EXPECT_EQ(method.status, 405);
    EXPECT_TRUE(method.has("Allow: POST"));
    const std::vector<std::string> bad{"",
                                       "{\"model\":",
                                       "[]",
                                       "{\"model\":1}",
                                       "{\"model\":\"m\"}",
                                       R"({"model":"m","messages":[]})",
                                       "\xff"};
    for (const auto& body : bad) {
        const auto reply = client.post("/v1/chat/completions", "application/json", body);
        EXPECT_EQ(reply.status, 400) << body;
        EXPECT_EQ(reply.json()["error"]["type"], "invalid_request_error");
    }
    EXPECT_EQ(client.post("/v1/embeddings", json::parse(R"({"model":"m","input":[]})")).status,
              400);
    EXPECT_EQ(client.post("/v1/responses", json::parse(R"({"model":"m"})")).status, 400);
}

TEST_F(MockProviderTest, SurvivesDeeplyNestedJson)
{
    const std::string deep = R"({"model":"m","messages":)" + std::string(200'000, '[');
    auto client = connect();
    EXPECT_EQ(client.post("/v1/chat/completions", "application/json", deep).status, 400);
    const std::string closed = deep + std::string(200'000, ']') + "}";
    EXPECT_EQ(client.post("/v1/chat/completions", "application/json", closed).status, 200);
}

}  // namespace
}  // namespace llmproxy::upstream
