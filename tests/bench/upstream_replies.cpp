#include "upstream_replies.hpp"

#include <charconv>
#include <cstdio>

namespace llmproxy::bench {
namespace {

constexpr std::int64_t kNanosPerMicro = 1'000;
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr int kEmbeddingDimensions = 1536;

std::string_view after(std::string_view text, std::string_view mark)
{
    const std::size_t found = text.find(mark);
    return found == std::string_view::npos ? std::string_view{} : text.substr(found + mark.size());
}

void skip_to_value(std::string_view& text)
{
    while (!text.empty() && (text.front() == ' ' || text.front() == ':')) {
        text.remove_prefix(1);
    }
}

bool asks_for_stream(std::string_view body)
{
    std::string_view value = after(body, "\"stream\"");
    skip_to_value(value);
    return value.starts_with("true");
}

std::int64_t leading_number(std::string_view text)
{
    std::int64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

void apply_specification(StreamPlan& plan, std::string_view text)
{
    const std::size_t separator = text.find_first_of(",-");
    const std::int64_t second =
        separator == std::string_view::npos ? 0 : leading_number(text.substr(separator + 1));
    if (text.starts_with("quiet")) {
        plan.events = 1;
        plan.silence_ns = second * kNanosPerSecond;
        return;
    }
    plan.events = leading_number(text);
    plan.interval_ns = second * kNanosPerMicro;
}

void append_chunk(std::string& out, std::string_view data)
{
    char size[16];
    const auto [end, error] = std::to_chars(size, size + sizeof size, data.size(), 16);
    out.append(size, end);
    out.append("\r\n").append(data).append("\r\n");
}

}  // namespace

std::optional<StreamPlan> stream_plan(std::string_view body,
                                      std::optional<std::string_view> specification)
{
    if (!asks_for_stream(body)) {
        return std::nullopt;
    }
    StreamPlan plan;
    plan.with_usage = body.find("\"include_usage\"") != std::string_view::npos;
    const std::string_view from_model = after(body, "\"sse-");
    if (specification) {
        apply_specification(plan, *specification);
    } else if (!from_model.empty()) {
        apply_specification(plan, from_model);
    } else {
        plan.events = 20;
        plan.interval_ns = 1'000 * kNanosPerMicro;
    }
    return plan;
}

std::string json_reply(int status, std::string_view body)
{
    std::string reply =
        "HTTP/1.1 " + std::to_string(status) + (status == 200 ? " OK" : " Not Found") +
        "\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
        "\r\nx-request-id: req_bench\r\n\r\n";
    return reply.append(body);
}

const std::string& chat_reply()
{
    static const std::string reply = json_reply(
        200,
        R"({"id":"chatcmpl-bench0123456789","object":"chat.completion","created":1700000000,)"
        R"("model":"gpt-bench","choices":[{"index":0,"message":{"role":"assistant","content":)"
        R"("A proxy sits between a program and the service it calls. It sees each request, may )"
        R"(refuse, change or count it, and passes the answer back as it comes."},)"
        R"("logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":28,)"
        R"("completion_tokens":34,"total_tokens":62,"prompt_tokens_details":{"cached_tokens":0},)"
        R"("completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default",)"
        R"("system_fingerprint":"fp_bench"})");
    return reply;
}

const std::string& embeddings_reply()
{
    static const std::string reply = [] {
        std::string body = R"({"object":"list","data":[{"object":"embedding","index":0,)"
                           R"("embedding":[)";
        for (int index = 0; index < kEmbeddingDimensions; ++index) {
            char number[24];
            const double value = ((index * 7919) % 2000 - 1000) / 31337.0;
            std::snprintf(number, sizeof number, "%s%.9f", index == 0 ? "" : ",", value);
            body.append(number);
        }
        body.append(R"(]}],"model":"text-embedding-bench",)"
                    R"("usage":{"prompt_tokens":8,"total_tokens":8}})");
        return json_reply(200, body);
    }();
    return reply;
}

std::string_view stream_head()
{
    return "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
           "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n"
           "x-request-id: req_bench\r\n\r\n";
}

void append_event(std::string& out, std::int64_t time_ns)
{
    char event[320];
    const int size =
        std::snprintf(event, sizeof event,
                      R"(data: {"id":"chatcmpl-bench0123456789","object":"chat.completion.chunk",)"
                      R"("created":1700000000,"model":"gpt-bench","choices":[{"index":0,)"
                      R"("delta":{"content":" token"},"finish_reason":null}],"t":"%019lld"})"
                      "\n\n",
                      static_cast<long long>(time_ns));
    append_chunk(out, std::string_view(event, static_cast<std::size_t>(size)));
}

void append_stream_end(std::string& out, bool with_usage)
{
    if (with_usage) {
        append_chunk(out,
                     R"(data: {"id":"chatcmpl-bench0123456789","object":"chat.completion.chunk",)"
                     R"("created":1700000000,"model":"gpt-bench","choices":[],"usage":)"
                     R"({"prompt_tokens":28,"completion_tokens":34,"total_tokens":62}})"
                     "\n\n");
    }
    append_chunk(out, "data: [DONE]\n\n");
    out.append("0\r\n\r\n");
}

}  // namespace llmproxy::bench
