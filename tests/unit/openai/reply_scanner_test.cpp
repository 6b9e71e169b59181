#include "llmproxy/openai/reply_scanner.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::openai {
namespace {

const std::string kChat =
    R"({"id":"1","model":"gpt","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":99}"}}],)"
    R"("usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":2},)"
    R"("completion_tokens_details":{"reasoning_tokens":3}}})";

TEST(ReplyScanner, ReadsEachApisNames)
{
    const auto chat = scan_reply(kChat);
    EXPECT_TRUE(chat.ok);
    EXPECT_EQ(chat.model, "gpt");
    EXPECT_EQ(chat.usage, (Usage{5, 7, 2, 3, true}));
    const auto responses = scan_reply(
        R"({"model":"m","usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":4},)"
        R"("output_tokens":2,"output_tokens_details":{"reasoning_tokens":9}}})");
    EXPECT_EQ(responses.usage, (Usage{1, 2, 4, 9, true}));
    EXPECT_EQ(scan_reply(R"({"usage":{"prompt_tokens":8}})").usage, (Usage{8, 0, 0, 0, true}));
    const auto audio =
        scan_reply(R"({"usage":{"prompt_tokens":9,"prompt_tokens_details":{"audio_tokens":4},)"
                   R"("completion_tokens":3,"completion_tokens_details":{"audio_tokens":2}}})");
    EXPECT_EQ(audio.usage, (Usage{9, 3, 0, 0, true, 0, 0, 4, 2}));
}

TEST(ReplyScanner, CountsCachesAsTheirApisDo)
{
    // Anthropic tells cached tokens beside the input, others as a part of it.
    const auto anthropic = scan_reply(
        R"({"model":"c","stop_reason":"end_turn","usage":{"input_tokens":10,"output_tokens":4,)"
        R"("cache_read_input_tokens":100,"cache_creation_input_tokens":20}})");
    EXPECT_EQ(anthropic.usage.all_input(), 130U);
    EXPECT_EQ(anthropic.usage.all_cached(), 100U);
    EXPECT_EQ(anthropic.usage.cache_write_tokens, 20U);
    EXPECT_EQ(anthropic.finish_reason, "end_turn");
    const auto other = scan_reply(
        R"({"usage":{"prompt_tokens":50,"prompt_cache_hit_tokens":30,"completion_tokens":1}})");
    EXPECT_EQ(other.usage.all_input(), 50U);
    EXPECT_EQ(other.usage.all_cached(), 30U);
}

TEST(ReplyScanner, TellsWhyGenerationEnded)
{
    EXPECT_EQ(scan_reply(R"({"choices":[{"index":0,"message":{"content":"x"},)"
                         R"("finish_reason":"length"},{"finish_reason":"stop"}]})")
                  .finish_reason,
              "length");
    EXPECT_EQ(scan_reply(R"({"object":"response","status":"incomplete"})").finish_reason,
              "incomplete");
    EXPECT_EQ(scan_reply(R"({"choices":[]})").finish_reason, "");
    EXPECT_EQ(scan_reply(R"({"choices":[{"finish_reason":null}]})").finish_reason, "");
    EXPECT_EQ(scan_reply(R"({"choices":[7],"model":"m"})").model, "m");
    const std::string text(9000, 'x');
    EXPECT_EQ(scan_reply(R"({"model":"m","choices":[{"message":{"content":")" + text +
                         R"("},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}})")
                  .finish_reason,
              "stop");
}

TEST(ReplyScanner, FindsNothingInOtherBodies)
{
    for (const std::string text :
         {"", "x", "[]", "{", R"({"usage":null})", R"({"a":{"usage":{"prompt_tokens":1}}})"}) {
        EXPECT_FALSE(scan_reply(text).usage.present) << text;
    }
    EXPECT_FALSE(scan_reply("{\"usage\":{}").ok);
    const std::string nested =
        "{\"a\":{\"usage\":{\"prompt_tokens\":1}},\"b\":\"" + std::string(3'000'000, 'x') + "\"}";
    EXPECT_FALSE(scan_reply(nested).usage.present);
    EXPECT_FALSE(scan_reply("{\"b\":\"" + std::string(3'000'000, 'x') +
                            "\",\"a\":{\"usage\":{\"prompt_tokens\":1}}}")
                     .usage.present);
}

TEST(ReplyScanner, ReadsLongRepliesWholeAndInPieces)
{
    for (const std::size_t size : {5000U, 200'000U, 1'048'000U, 1'048'576U, 5'000'000U}) {
        const auto text = "{\"model\":\"emb\",\"data\":\"" + std::string(size, '[') +
                          "\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}\n";
        EXPECT_EQ(scan_reply(text).usage.input_tokens, 8U);
        for (const std::size_t step : {1000U, 16'384U, 60'000U, 6'000'000U}) {
            ReplyScanner scanner;
            for (std::size_t at = 0; at < text.size(); at += step) {
                scanner.feed(std::string_view(text).substr(at, step));
            }
            scanner.finish();
            EXPECT_EQ(scanner.usage().input_tokens, 8U) << size << ' ' << step;
            EXPECT_EQ(scanner.facts().model, "emb") << size << ' ' << step;
        }
    }
}

TEST(ReplyScanner, ReadsUsageThatIsNotAtTheEnd)
{
    const auto text = "{\"usage\":{\"prompt_tokens\":8},\"model\":\"m\",\"data\":\"" +
                      std::string(100'000, 'x') + "\"}";
    EXPECT_EQ(scan_reply(text).usage.input_tokens, 8U);
}

}  // namespace
}  // namespace llmproxy::openai
