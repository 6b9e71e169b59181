#include "llmproxy/openai/usage.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::openai {
namespace {

/// The same object, which only simdjson reads: a key with an escape stands before its fields.
std::string unusual(std::string text)
{
    const auto brace = text.find('{');
    if (brace == std::string::npos) {
        return text;
    }
    const auto after = text.find_first_not_of(" \t\r\n", brace + 1);
    const bool empty = after != std::string::npos && text[after] == '}';
    return text.insert(brace + 1, empty ? R"("\u0061":0)" : R"("\u0061":0,)");
}

void expect_same_facts(const std::string& text)
{
    const Usage known{1, 2, 3, 4, true, 5, 6, 7, 8};
    const auto quick = read_reply(text, known);
    const auto thorough = read_reply(unusual(text), known);
    ASSERT_EQ(quick.usage, thorough.usage) << text;
    ASSERT_EQ(quick.model, thorough.model) << text;
    ASSERT_EQ(quick.finish_reason, thorough.finish_reason) << text;
    ASSERT_EQ(quick.ok, thorough.ok) << text;
    ASSERT_EQ(quick.empty_choices, thorough.empty_choices) << text;
    ASSERT_EQ(quick.top_usage, thorough.top_usage) << text;
    ASSERT_EQ(quick.error, thorough.error) << text;
}

const std::vector<std::string>& shapes()
{
    static const std::vector<std::string> kShapes{
        // Whole replies of each API, and events of streams.
        R"({"id":"1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024","choices":[)"
        R"({"index":0,"message":{"role":"assistant","content":"a \"{[\\ \u00e9 }] ,:","refusal":null,)"
        R"("tool_calls":[{"function":{"arguments":"{\"usage\":{}}"}}]},"logprobs":null,"finish_reason":"stop"},)"
        R"({"finish_reason":"length"}],"usage":{"prompt_tokens":19,"completion_tokens":24,"total_tokens":43,)"
        R"("prompt_tokens_details":{"cached_tokens":9,"audio_tokens":8},"completion_tokens_details":)"
        R"({"reasoning_tokens":7,"audio_tokens":6,"rejected_prediction_tokens":5}},"service_tier":"default"})",
        R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[-0.0023064255,1e-7,[[]],0]}],)"
        R"("model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}})",
        R"({"type":"response.completed","response":{"model":"m","status":"completed","output":[{"usage":{}}],)"
        R"("usage":{"input_tokens":11,"input_tokens_details":{"cached_tokens":1},"output_tokens":12,)"
        R"("output_tokens_details":{"reasoning_tokens":4}}}})",
        R"({"type":"message","model":"claude","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn",)"
        R"("usage":{"input_tokens":10,"output_tokens":4,"cache_read_input_tokens":100,)"
        R"("cache_creation_input_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":20}}})",
        R"({"type":"message_start","message":{"model":"c","stop_reason":null,"usage":{"input_tokens":8}}})",
        R"({"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":6}})",
        R"({"error":{"message":"no","code":null},"usage":null,"choices":[]})",
        R"({"error":null,"model":null,"choices":[ ] ,"usage":{ }, "prompt_cache_hit_tokens":3})",
        "\r\n {\t\"model\" :\r\n\"spaced out\" , \"usage\" : { \"prompt_tokens\" : 5 ,\n "
        "\"completion_tokens\" : "
        "6 } , \"choices\" : [ { \"finish_reason\" : \"stop\" } , 7 ] }\r\n\t ",
        // Members that are elsewhere, given twice, or of another kind.
        R"({"a":{"usage":{"prompt_tokens":9},"model":"x"},"b":[{"usage":{"prompt_tokens":8}}]})",
        R"({"usage":{"prompt_tokens":1},"usage":{"completion_tokens":2},"model":"a","model":"b"})",
        R"({"usage":{"prompt_tokens":1},"usage":[{"prompt_tokens":2}],"choices":[],"choices":[1]})",
        R"({"usage":"text","choices":{},"model":["m"],"error":false,"response":7,"message":"m"})",
        R"({"choices":[["a"],{"finish_reason":"no"}],"delta":[],"status":{"a":1},"stop_reason":5})",
        R"({"choices":["a","b"],"choices":[{}],"error":0,"response":null,"message":[1,{"model":"x"}]})",
        R"({"choices":[[{"finish_reason":"no"}]],"usage":{"x":{"prompt_tokens":1},"y":[{}],"z":"{"}})",
        // Escapes.
        R"({"us\u0061ge":{"prompt_tokens":3},"model":"a\/b","status":"\u00fcber"})",
        R"({"usage":{"prompt\u005ftokens":3},"key with \" and \\":"\\","model":"x\\"})",
        R"({"a":"\\\\\\\"","b":"\\","usage":{"prompt_tokens":3}})",
        R"({"choices":[{"finish\u005freason":"stop","x":1}],"a":"\ud800 and \x"})",
        // Numbers.
        R"({"usage":{"prompt_tokens":1234567890123456789,"completion_tokens":9999999999999999999}})",
        R"({"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551616}})",
        R"({"usage":{"prompt_tokens":1.5,"completion_tokens":2e3,"cache_read_input_tokens":-4}})",
        R"({"usage":{"prompt_tokens":01,"completion_tokens":-0,"cache_read_input_tokens":0}})",
        R"({"usage":{"prompt_tokens":"12","completion_tokens":null,"prompt_cache_hit_tokens":true}})",
        R"({"usage":{"prompt_tokens":[7],"completion_tokens":{"a":7},"cost":0.00012}})",
        R"({"usage":{"prompt_tokens":12x,"completion_tokens":+7,"cost":.5}})",
        // What is no JSON, or has something behind it.
        R"({"usage":{"prompt_tokens":1},"model":"m"}})",
        R"({"usage":{"prompt_tokens":1},"model":"m"} {})",
        R"({"usage":{"prompt_tokens":1},"model":"m"],"x":2})",
        R"({"usage":{"prompt_tokens":1}"model":"m"})",
        R"({"usage":{"prompt_tokens":1},"model":"m",})",
        R"({"usage":{"prompt_tokens":1,},"model":"m"})",
        R"({"usage":{"prompt_tokens":1,"x"},"model":"m"})",
        R"({"usage":{"prompt_tokens":},"model":"m","status":tru})",
        R"({"usage":{"prompt_tokens" 1},"model":"m"})",
        R"({"model":"m","x":[1,},{],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","x":[a"]"],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","x":[\"]"],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","x":["a""b"|"c"],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","choices":[,],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","choices":["a":1],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","choices":[{} 5],"usage":{"prompt_tokens":1}})",
        R"({"model":"m","choices":[{"finish_reason":"stop"}},"usage":{"prompt_tokens":1}})",
        R"({"model":"m" "n","usage":{"prompt_tokens":1}})",
        "{\"model\":\"m\",\"x\":\"tab\tinside\",\"usage\":{\"prompt_tokens\":1}}",
        "{\"model\":\"m\",\"x\":\"h\xc3\xa9 \xe6\x97\xa5 "
        "\xf0\x9f\x99\x82\",\"usage\":{\"prompt_tokens\":1}}",
        "{\"model\":\"m\",\"x\":\"bad \xc3( utf-8\",\"usage\":{\"prompt_tokens\":1}}",
        "{\"model\":\"m\",\"x\":\"\\\xc3\xa9 escaped\",\"usage\":{\"prompt_tokens\":1}}",
        "{\"model\":\"m\",\"x\":[\xff],\"usage\":{\"prompt_tokens\":1}}",
        "{\"model\":\"m\xc3\xa9\",\"x\xc3\xa9\":1,\"usage\":{\"prompt_tokens\":1}}",
        "\xef\xbb\xbf{\"model\":\"m\",\"usage\":{\"prompt_tokens\":1}}",
        std::string("{\"model\":\"m\",\"x\":\0,\"usage\":{\"prompt_tokens\":1}}", 46),
        std::string("{\"model\":\"m\",\"usage\":{\"prompt_tokens\":1}}\0", 42),
        "{}",
        "{ }",
        R"({"a":1})",
        "                         {}                   ",
        "{                                            }",
        R"(["model","usage",{"prompt_tokens":1}])",
    };
    return kShapes;
}

TEST(Usage, IsTheSameWhicheverWayAReplyIsRead)
{
    for (const auto& shape : shapes()) {
        expect_same_facts(shape);
    }
}

TEST(Usage, IsTheSameWhereverAReplyIsCutOff)
{
    for (const auto& shape : shapes()) {
        for (std::size_t size = 0; size < shape.size(); ++size) {
            expect_same_facts(shape.substr(0, size));
        }
    }
}

TEST(Usage, IsTheSameForBlocksAtAnyPlace)
{
    for (std::size_t size = 0; size < 70; ++size) {
        const std::string pad(size, 'p');
        for (const std::string inside : {"", "\\\"", "}]", "\xc3\xa9", "\\\\", "|"}) {
            expect_same_facts(R"({"model":")" + pad + R"(","x":[")" + pad + inside + pad +
                              R"("],")" + pad + R"(":1,"usage":{"prompt_tokens":1},"y":")" +
                              inside + R"("})");
        }
    }
}

TEST(Usage, IsTheSameInChangedReplies)
{
    std::mt19937 random(20261201);
    const auto below = [&](std::size_t n) { return random() % n; };
    constexpr std::string_view kBytes = "\"\\{}[]:,|0n -1.eu\n\x01\xc3\xa9\xff";
    for (int round = 0; round < 20'000; ++round) {
        auto text = shapes()[below(shapes().size())];
        for (auto changes = 1 + below(3); changes > 0; --changes) {
            const auto at = below(text.size());
            switch (below(3)) {
            case 0: text[at] = kBytes[below(kBytes.size())]; break;
            case 1: text.erase(at, 1 + below(4)); break;
            default: text.insert(at, 1, kBytes[below(kBytes.size())]); break;
            }
            if (text.empty()) {
                break;
            }
        }
        // Only what begins with the brace: otherwise the unusual key would come before it.
        const auto first = text.find_first_not_of(" \t\r\n");
        if (first != std::string::npos && text[first] == '{') {
            expect_same_facts(text);
        }
    }
}

TEST(Usage, OfAnObjectAloneIsTheSameWhicheverWayItIsRead)
{
    for (
        const std::string object :
        {R"({"prompt_tokens":19,"completion_tokens":24,"prompt_tokens_details":{"cached_tokens":9}})",
         R"({"prompt_tokens":19,"completion_tokens":})", R"({"prompt_tokens":1.5,"x":"y"})", "{}",
         R"({"input_tokens":3,"output_tokens":4} behind)", "{                       }"}) {
        Usage quick{1, 2, 3, 4};
        Usage thorough{1, 2, 3, 4};
        read_usage(object, quick);
        read_usage(unusual(object), thorough);
        EXPECT_EQ(quick, thorough) << object;
        EXPECT_TRUE(quick.present || object.ends_with("behind")) << object;
    }
}

}  // namespace
}  // namespace llmproxy::openai
