#include "llmproxy/policy/reply_classifier.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;
using enum ReplyClass;
using enum RetryPermission;

const core::SystemTime kNow{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) + 8h};

ReplyVerdict classify(unsigned status, std::string_view body = {})
{
    return classify_reply({status, body, {}}, kNow);
}

TEST(ReplyClassifier, DecidesByStatusWhenTheBodySaysNothing)
{
    struct Row {
        unsigned status;
        ReplyClass reply_class;
        RetryPermission permission;
        bool cools_key;
    };
    const Row rows[] = {
        {200, unknown, never, false},      {204, unknown, never, false},
        {302, unknown, never, false},      {400, permanent, never, false},
        {401, auth, other_key, true},      {402, quota, other_key, true},
        {403, auth, other_key, true},      {404, permanent, never, false},
        {405, permanent, never, false},    {408, transient, anywhere, false},
        {409, permanent, never, false},    {413, permanent, never, false},
        {418, unknown, never, false},      {422, permanent, never, false},
        {425, permanent, never, false},    {429, rate_limit, anywhere, true},
        {499, unknown, never, false},      {500, transient, anywhere, false},
        {501, permanent, never, false},    {502, transient, anywhere, false},
        {503, transient, anywhere, false}, {504, transient, anywhere, false},
        {505, permanent, never, false},    {507, permanent, never, false},
        {511, permanent, never, false},    {519, permanent, never, false},
        {520, transient, anywhere, false}, {521, transient, anywhere, false},
        {522, transient, anywhere, false}, {523, transient, anywhere, false},
        {524, transient, never, false},    {525, transient, anywhere, false},
        {526, transient, anywhere, false}, {527, transient, anywhere, false},
        {528, permanent, never, false},    {529, transient, anywhere, false},
        {530, permanent, never, false},    {599, permanent, never, false},
    };
    for (const auto& row : rows) {
        const ReplyVerdict expected{row.reply_class, row.permission, row.status, std::nullopt,
                                    row.cools_key};
        EXPECT_EQ(classify(row.status), expected) << row.status;
        EXPECT_EQ(classify(row.status, "<html>Bad Gateway</html>"), expected) << row.status;
        EXPECT_EQ(classify(row.status, R"({"error":{"message":"no"}})"), expected) << row.status;
    }
}

struct Shape {
    std::string_view who;
    unsigned status;
    std::string_view body;
    ReplyClass reply_class;
    RetryPermission permission;
};

void expect(const std::vector<Shape>& shapes)
{
    for (const auto& shape : shapes) {
        const auto verdict = classify(shape.status, shape.body);
        EXPECT_EQ(to_string(verdict.reply_class), to_string(shape.reply_class))
            << shape.who << ' ' << shape.status << ' ' << shape.body;
        EXPECT_EQ(verdict.permission, shape.permission)
            << shape.who << ' ' << shape.status << ' ' << shape.body;
    }
}

TEST(ReplyClassifier, KnowsTheErrorsOfOpenAiAndAzure)
{
    expect({
        {"OpenAI", 401,
         R"({"error":{"message":"Incorrect API key provided: sk-x.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}})",
         auth, other_key},
        {"OpenAI", 429,
         R"({"error":{"message":"Rate limit reached for gpt-4o","type":"requests","param":null,"code":"rate_limit_exceeded"}})",
         rate_limit, anywhere},
        {"OpenAI", 429,
         R"({"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}})",
         quota, never},
        {"OpenAI", 429,
         R"({"error":{"message":"x","type":"billing_error","code":"billing_hard_limit_reached"}})",
         quota, never},
        {"OpenAI", 500,
         R"({"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}})",
         transient, anywhere},
        {"OpenAI", 503,
         R"({"error":{"message":"The engine is currently overloaded","type":"overloaded","code":null}})",
         transient, anywhere},
        {"OpenAI", 400,
         R"({"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}})",
         permanent, never},
        {"OpenAI", 404,
         R"({"error":{"message":"no","type":"invalid_request_error","code":"model_not_found"}})",
         permanent, never},
        {"OpenAI", 500, R"({"error":{"message":"x","code":"insufficient_quota"}})", quota, never},
        {"DeepSeek", 402,
         R"({"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}})",
         quota, other_key},
        {"OpenRouter", 403, R"({"error":{"code":403,"message":"x","type":"insufficient_quota"}})",
         quota, other_key},
        {"Azure", 429,
         R"({"error":{"code":"429","message":"Requests have exceeded call rate limit. Please retry after 26 seconds."}})",
         rate_limit, anywhere},
        {"Azure", 429, R"({"error":{"code":"RateLimitReached","message":"x"}})", rate_limit,
         anywhere},
        {"Azure", 429, R"({"error":{"code":"insufficient_quota","message":"x"}})", quota, never},
        {"Azure", 429,
         R"({"statusCode":429,"message":"Rate limit is exceeded. Try again in 26 seconds."})",
         rate_limit, anywhere},
        {"Azure", 401,
         R"({"statusCode":401,"message":"Access denied due to invalid subscription key"})", auth,
         other_key},
        {"Azure", 404, R"({"error":{"code":"DeploymentNotFound","message":"x"}})", permanent,
         never},
        {"Azure", 400,
         R"({"error":{"code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}})",
         permanent, never},
    });
}

TEST(ReplyClassifier, KnowsTheErrorsOfAnthropicAndGemini)
{
    expect({
        {"Anthropic", 529,
         R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"})",
         transient, anywhere},
        {"Anthropic", 429, R"({"type":"error","error":{"type":"rate_limit_error","message":"x"}})",
         rate_limit, anywhere},
        {"Anthropic", 401,
         R"({"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}})",
         auth, other_key},
        {"Anthropic", 403, R"({"type":"error","error":{"type":"permission_error","message":"x"}})",
         auth, other_key},
        {"Anthropic", 402, R"({"type":"error","error":{"type":"billing_error","message":"x"}})",
         quota, other_key},
        {"Anthropic", 500, R"({"type":"error","error":{"type":"api_error","message":"x"}})",
         transient, anywhere},
        {"Anthropic", 413, R"({"type":"error","error":{"type":"request_too_large","message":"x"}})",
         permanent, never},
        {"Gemini", 429,
         R"([{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}])",
         rate_limit, anywhere},
        {"Gemini", 400,
         R"({"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}})",
         auth, never},
        {"Gemini", 403, R"({"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}})",
         auth, other_key},
        {"Gemini", 403,
         R"({"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"rateLimitExceeded"}]}})",
         rate_limit, other_key},
        {"Gemini", 503, R"({"error":{"code":503,"message":"x","status":"UNAVAILABLE"}})", transient,
         anywhere},
        {"Gemini", 504, R"({"error":{"code":504,"message":"x","status":"DEADLINE_EXCEEDED"}})",
         transient, anywhere},
    });
}

TEST(ReplyClassifier, KnowsTheErrorsOfLocalServers)
{
    expect({
        {"vLLM", 400,
         R"({"object":"error","message":"max context","type":"BadRequestError","param":null,"code":400})",
         permanent, never},
        {"vLLM", 404, R"({"error":{"message":"x","type":"NotFoundError","param":null,"code":404}})",
         permanent, never},
        {"vLLM", 401, R"({"error":"Unauthorized"})", auth, other_key},
        {"vLLM", 500,
         R"({"object":"error","message":"x","type":"InternalServerError","param":null,"code":500})",
         transient, anywhere},
        {"Ollama", 404, R"({"error":"model \"x\" not found, try pulling it first"})", permanent,
         never},
        {"Ollama", 503,
         R"({"error":"server busy, please try again.  maximum pending requests exceeded"})",
         transient, anywhere},
        {"Ollama", 500,
         R"({"error":{"message":"llama runner process has terminated","type":"api_error","param":null,"code":null}})",
         transient, anywhere},
        {"llama.cpp", 503,
         R"({"error":{"code":503,"message":"Loading model","type":"unavailable_error"}})",
         transient, anywhere},
        {"llama.cpp", 501, R"({"error":{"code":501,"message":"x","type":"not_supported_error"}})",
         permanent, never},
        {"llama.cpp", 401,
         R"({"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}})",
         auth, other_key},
        {"Bedrock", 429, R"({"__type":"ThrottlingException","message":"x"})", rate_limit, anywhere},
    });
}

TEST(ReplyClassifier, ReadsWordsWhenNothingIsNamed)
{
    expect({
        {"html", 429, "<h1>INSUFFICIENT_QUOTA</h1>", quota, never},
        {"message", 429, R"({"error":{"message":"insufficient_quota: add credits"}})", quota,
         never},
        {"text", 503, "rate_limit reached", rate_limit, anywhere},
        {"text", 503, "upstream overloaded", transient, anywhere},
        {"text", 420, "Too Many Requests", rate_limit, never},
        {"text", 498, "invalid_api_key", auth, never},
        // A permanent error repeats what the client wrote.
        {"echo", 400, R"({"error":{"message":"invalid value: 'insufficient_quota'"}})", permanent,
         never},
        {"echo", 404, "no model rate_limit", permanent, never},
    });
}

TEST(ReplyClassifier, NeverLetsWordsCoolAKey)
{
    for (const auto status : {400U, 404U, 500U, 503U}) {
        for (const std::string word : {"invalid_api_key", "rate_limit", "insufficient_quota"}) {
            EXPECT_FALSE(classify(status, word).cools_key) << status << ' ' << word;
            EXPECT_FALSE(classify(status, R"({"error":{"code":")" + word + "\"}}").cools_key)
                << status << ' ' << word;
        }
    }
}

TEST(ReplyClassifier, ReadsABodyThatIsCutOffAndOnlyItsBeginning)
{
    const std::string head = R"({"error":{"code":"insufficient_quota","message":")";
    EXPECT_EQ(classify(429, head).reply_class, quota);
    EXPECT_EQ(classify(429, head + std::string(1 << 20, 'x')).reply_class, quota);
    const std::string late = R"({"error":{"message":")" + std::string(kMaxClassifiedBody, 'x') +
                             R"(","code":"insufficient_quota"}})";
    EXPECT_EQ(classify(429, late).reply_class, rate_limit);
}

TEST(ReplyClassifier, SurvivesGarbage)
{
    const std::vector<std::string> bodies{
        std::string(kMaxClassifiedBody, '['),
        std::string(kMaxClassifiedBody, '{'),
        std::string(kMaxClassifiedBody, '"'),
        std::string(200, '[') + R"({"error":{"code":"billing_not_active"}})",
        "\xff\xfe{\"error\"",
        std::string("\0\0\0", 3),
        R"({"error":{"code":1e999}})",
        R"({"error":{"code":99999999999999999999999999}})",
        R"({"error":{"code":-429,"status":true,"type":[{"type":"x"}]}})",
        R"({"":{"":"x"},"error":[[[]]]})",
    };
    for (const auto& body : bodies) {
        EXPECT_EQ(classify(503, body).permission, anywhere) << body.substr(0, 60);
        EXPECT_EQ(classify(400, body).permission, never) << body.substr(0, 60);
    }
}

TEST(ReplyClassifier, FindsTheHintInHeadersThenInTheBody)
{
    const std::string_view gemini =
        R"({"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34.5s"}]}})";
    EXPECT_EQ(classify(429, gemini).retry_after, 34500ms);
    ReplyFacts facts{429, gemini, {}};
    facts.headers.retry_after = "2";
    EXPECT_EQ(classify_reply(facts, kNow).retry_after, 2s);
    facts.headers.retry_after_ms = "1500";
    EXPECT_EQ(classify_reply(facts, kNow).retry_after, 1500ms);

    ReplyFacts resets{500, {}, {}};
    resets.headers.reset_requests = "6m0s";
    EXPECT_EQ(classify_reply(resets, kNow).retry_after, std::nullopt);
    resets.status = 429;
    EXPECT_EQ(classify_reply(resets, kNow).retry_after, 6min);
    resets.status = 503;
    resets.headers.retry_after = "Sat, 21 Nov 2026 08:00:05 GMT";
    EXPECT_EQ(classify_reply(resets, kNow).retry_after, 5s);
}

TEST(ReplyClassifier, SeesErrorFramesInStreams)
{
    struct Row {
        std::string_view who;
        std::string_view block;
        unsigned status;
        ReplyClass reply_class;
        RetryPermission permission;
        bool cools_key;
    };
    const Row rows[] = {
        {"OpenAI",
         "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"code\":null}}\n\n", 500,
         transient, anywhere, false},
        {"OpenAI quota", "data: {\"error\":{\"code\":\"insufficient_quota\"}}\r\n\r\n", 429, quota,
         never, true},
        {"responses",
         "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\","
         "\"message\":\"x\",\"param\":null,\"sequence_number\":0}\n\n",
         429, rate_limit, anywhere, true},
        {"responses failed",
         "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\","
         "\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n",
         500, transient, anywhere, false},
        {"Anthropic",
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
         "\"message\":\"Overloaded\"}}\n\n",
         529, transient, anywhere, false},
        {"Anthropic key",
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"}}",
         401, auth, other_key, true},
        {"Gemini", "data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}\r\r", 503,
         transient, anywhere, false},
        {"vLLM",
         "data: {\"error\":{\"object\":\"error\",\"message\":\"x\",\"type\":\"BadRequestError\","
         "\"code\":400}}\n\n",
         400, permanent, never, false},
        {"vLLM old",
         "data: {\"object\":\"error\",\"type\":\"InternalServerError\",\"code\":500}\n\n", 500,
         transient, anywhere, false},
        {"llama.cpp", "error: {\"code\":503,\"message\":\"x\",\"type\":\"unavailable_error\"}\n\n",
         503, transient, anywhere, false},
        {"Ollama", "data: {\"error\":\"llama runner stopped\"}\n\n", 0, unknown, anywhere, false},
        {"several lines", ": hello\ndata: {\"error\":\ndata: {\"code\":524}}\n\n", 524, transient,
         never, false},
        {"text", "event: error\ndata: upstream is overloaded\n\n", 529, transient, anywhere, false},
        {"words do not cool", "event: error\ndata: invalid_api_key\n\n", 401, auth, other_key,
         false},
        {"empty", "event: error\n\n", 0, unknown, anywhere, false},
    };
    for (const auto& row : rows) {
        const auto verdict = classify_frame(row.block, {}, kNow);
        const ReplyVerdict expected{row.reply_class, row.permission, row.status, std::nullopt,
                                    row.cools_key};
        ASSERT_TRUE(verdict) << row.who;
        EXPECT_EQ(*verdict, expected) << row.who;
    }
}

TEST(ReplyClassifier, SeesNoErrorInOrdinaryFrames)
{
    const std::string_view blocks[] = {
        "",
        "\n\n",
        ": comment about an error\n\n",
        "data: [DONE]\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"error\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"error\\\":{}}\"}}]}\n\n",
        "data: {\"choices\":[{\"error\":{\"code\":500}}]}\n\n",
        "data: {\"error\":null,\"choices\":[]}\n\n",
        "data: {\"error\":false}\n\n",
        "data: {\"error\":\"\"}\n\n",
        "event: response.created\ndata: {\"type\":\"response.created\","
        "\"response\":{\"id\":\"r\",\"error\":null}}\n\n",
        "data: {\"type\":\"content_block_start\",\"index\":0}\n\n",
        "errors: many\n\n",
        "data: error\n\n",
    };
    for (const auto block : blocks) {
        EXPECT_FALSE(classify_frame(block, {}, kNow)) << block;
    }
}

TEST(ReplyClassifier, TakesTheHintOfAFrameFromTheReplysHead)
{
    RetryHeaders headers;
    headers.retry_after = "3";
    const auto verdict =
        classify_frame("data: {\"error\":{\"type\":\"rate_limit_error\"}}\n\n", headers, kNow);
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->retry_after, 3s);
}

}  // namespace
}  // namespace llmproxy::policy
