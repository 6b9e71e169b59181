#include "llmproxy/openai/stream_scanner.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace llmproxy::openai {
namespace {

struct Seen {
    std::string out;
    Usage usage;
    std::string model;
    std::string finish_reason;
    bool terminal = false;
    bool error = false;
    bool boundary = false;
    friend bool operator==(const Seen&, const Seen&) = default;
};

Seen run(const std::vector<std::string>& pieces, bool hide, Route route = Route::chat_completions)
{
    StreamScanner scanner(route, hide);
    Seen seen;
    std::vector<std::string_view> relay;
    const auto take = [&] {
        for (const auto span : relay) {
            EXPECT_FALSE(span.empty());
            seen.out += span;
        }
        relay.clear();
    };
    for (auto piece : pieces) {
        scanner.feed(piece, relay);
        if (!hide && !piece.empty()) {
            EXPECT_EQ(relay, std::vector<std::string_view>{piece});
        }
        take();
        std::fill(piece.begin(), piece.end(), '#');  // nothing may be read from it later
    }
    seen.boundary = scanner.at_event_boundary();
    scanner.finish(relay);
    take();
    seen.usage = scanner.usage();
    seen.model = scanner.model();
    seen.finish_reason = scanner.finish_reason();
    seen.terminal = scanner.terminal_seen();
    seen.error = scanner.error_seen();
    return seen;
}

std::string with_ends(std::string text, const std::string& end)
{
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += end.size()) {
        text.replace(at, 1, end);
    }
    return text;
}

const std::string kText =
    "data: "
    "{\"model\":\"gpt\",\"choices\":[{\"delta\":{\"content\":\"h\xc3\xa9\"}}],\"usage\":null}\n\n";
const std::string kUsage =
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"prompt_tokens_"
    "details\":"
    "{\"cached_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n";
const std::string kDone = "data: [DONE]\n\n";
const std::string kHead = "\xef\xbb\xbf: ping\n\nevent: x\nid: 1\ndata:{\"a\":\n"
                          "data:1}\n\n\n";

TEST(StreamScanner, SeesAndHidesTheSameForEverySplit)
{
    for (const std::string end : {"\n", "\r", "\r\n"}) {
        const auto head = with_ends(kHead + kText, end);
        const auto usage = with_ends(kUsage, end);
        const auto tail = with_ends(kDone, end);
        const auto text = head + usage + tail;
        const Usage expected{5, 7, 2, 3, true};
        for (std::size_t i = 0; i <= text.size(); ++i) {
            for (std::size_t k = i; k <= text.size(); k += k < i + 4 ? 1 : 13) {
                const std::vector<std::string> pieces{text.substr(0, i), text.substr(i, k - i),
                                                      text.substr(k)};
                const auto hidden = run(pieces, true);
                ASSERT_EQ(hidden.out, head + tail) << i << ' ' << k;
                ASSERT_EQ(hidden.usage, expected);
                ASSERT_TRUE(hidden.terminal && hidden.boundary && !hidden.error);
                ASSERT_EQ(hidden.model, "gpt");
                const auto shown = run(pieces, false);
                ASSERT_EQ(shown.out, text);
                ASSERT_EQ(shown.usage, expected);
                ASSERT_TRUE(shown.terminal && shown.boundary);
            }
        }
        std::vector<std::string> bytes;
        for (const char c : text) {
            bytes.emplace_back(1, c);
        }
        EXPECT_EQ(run(bytes, true).out, head + tail);
        EXPECT_EQ(run(bytes, true), run({text}, true));
    }
}

TEST(StreamScanner, TellsWhereACutMayFallForEverySplit)
{
    for (const std::string end : {"\n", "\r", "\r\n"}) {
        const auto text = with_ends(kText, end);
        const auto done = with_ends(kDone, end);
        const auto whole = text + with_ends(kUsage, end) + text + done + with_ends(": x\n\n", end);
        for (const bool hide : {true, false}) {
            const auto before = hide ? text + text : text + with_ends(kUsage, end) + text;
            for (std::size_t size = 1; size <= whole.size(); ++size) {
                StreamScanner scanner(Route::chat_completions, hide);
                std::string given;
                std::vector<std::string_view> relay;
                for (std::size_t at = 0; at < whole.size(); at += size) {
                    relay.clear();
                    scanner.feed(std::string_view(whole).substr(at, size), relay);
                    for (const auto run : relay) {
                        given += run;
                    }
                    const auto kept = given.size() - scanner.given_past_boundary();
                    const auto events = std::string_view(given).substr(0, kept);
                    // Between CR and LF of a blank line the line has ended already.
                    ASSERT_TRUE(events.empty() || events.ends_with(end + end) ||
                                events.ends_with("\r\n\r"))
                        << size << ' ' << at;
                    ASSERT_EQ(events.size() == given.size(),
                              scanner.at_event_boundary() || scanner.holds_back());
                    if (!scanner.terminal_seen()) {
                        ASSERT_EQ(scanner.given_past_terminal(), 0U);
                        continue;
                    }
                    auto shown = given.substr(0, given.size() - scanner.given_past_terminal());
                    ASSERT_EQ(shown, before) << size << ' ' << at;
                }
            }
        }
    }
}

TEST(StreamScanner, HidesOnlyBlocksWithEmptyChoicesAndUsage)
{
    for (const std::string shown : {
             "data: {\"choices\":[],\"usage\":null}\n\n",
             "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
             "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
             "data: {\"choices\":null,\"usage\":{\"prompt_tokens\":1}}\n\n",
             "data: {\"choices\":[],\"x\":{\"usage\":{}}}\n\n",
             "data: {\"choices\":[],\"usage\":{}\n\n",
             "data: {\"choices\":[]}\n\n",
             "data: [],\"usage\":{}\n\n",
             ": {\"choices\":[],\"usage\":{}}\n\n",
             "data: {\"choices\":[],\"usage\":{}}",
             "data: {\"choices\":[],\"usage\":{}}\n",
         }) {
        EXPECT_EQ(run({shown}, true).out, shown);
    }
    for (const std::string hidden : {
             "data:{\"usage\" : {\"prompt_tokens\":1}, \"choices\" : [ ] }\r\n\r\n",
             "id: 3\ndata: {\"choices\":\ndata: [],\ndata: \"usage\":{}}\n\n",
             "data: {\"id\":\"\\\"usage\\\":null\",\"usage\":{},\"choices\":[]}\n\n",
         }) {
        EXPECT_EQ(run({hidden}, true).out, "") << hidden;
        EXPECT_EQ(run({kText + hidden + kText + hidden + hidden + kDone}, true).out,
                  kText + kText + kDone);
    }
}

TEST(StreamScanner, HoldsOnlyAnIncompleteBlock)
{
    StreamScanner scanner(Route::chat_completions, true);
    std::vector<std::string_view> relay;
    const auto piece = kText + "data: {\"cho";
    scanner.feed(piece, relay);
    ASSERT_EQ(relay.size(), 1U);
    EXPECT_EQ(relay[0], kText);
    EXPECT_FALSE(scanner.at_event_boundary());
    relay.clear();
    const std::string more(5000, 'x');
    scanner.feed(more, relay);
    ASSERT_EQ(relay.size(), 2U);
    EXPECT_EQ(relay[0], "data: {\"cho");
    EXPECT_EQ(relay[1], more);
    relay.clear();
    scanner.finish(relay);
    EXPECT_TRUE(relay.empty());
}

TEST(StreamScanner, NeverHidesLongBlocksWhereverTheyAreCut)
{
    const auto text = "data: {\"choices\":[],\"pad\":\"" +
                      std::string(StreamScanner::kMaxHeld, 'x') +
                      "\",\"usage\":{\"prompt_tokens\":9}}\n\n";
    for (std::size_t i = 0; i < text.size(); i += 97) {
        const auto seen = run({text.substr(0, i), text.substr(i)}, true);
        EXPECT_EQ(seen.out, text);
        EXPECT_EQ(seen.usage.input_tokens, 9U);
    }
}

TEST(StreamScanner, ReadsUsageFromTheEndOfHugeEvents)
{
    const auto text =
        "event: response.completed\ndata: "
        "{\"type\":\"response.completed\",\"response\":{\"model\":\"big\","
        "\"output\":\"" +
        std::string(1'000'000, '{') +
        "\",\"usage\":{\"input_tokens\":11,\"output_tokens\":12,\"output_tokens_details\":"
        "{\"reasoning_tokens\":4}},\"metadata\":{}}}\n\n";
    const auto whole = run({text}, false, Route::responses);
    EXPECT_EQ(whole.usage, (Usage{11, 12, 0, 4, true}));
    EXPECT_TRUE(whole.terminal);
    EXPECT_EQ(whole.model, "big");
    for (const std::size_t size : {1000U, 16'384U, 16'385U, 65'536U, 70'001U}) {
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < text.size(); at += size) {
            pieces.push_back(text.substr(at, size));
        }
        EXPECT_EQ(run(pieces, false, Route::responses), whole) << size;
        EXPECT_EQ(run(pieces, true, Route::responses), whole) << size;
    }
}

TEST(StreamScanner, KnowsTerminalAndErrorEvents)
{
    for (const std::string type :
         {"response.completed", "response.incomplete", "response.failed"}) {
        EXPECT_TRUE(run({"event: " + type + "\ndata: {}\n\n"}, false, Route::responses).terminal);
        const auto unnamed =
            run({"data: {\"type\" : \"" + type + "\"}\n\n"}, false, Route::responses);
        EXPECT_TRUE(unnamed.terminal);
        EXPECT_EQ(unnamed.error, type == "response.failed");
    }
    EXPECT_TRUE(run({"event: message_stop\ndata: {}\n\n"}, false).terminal);
    EXPECT_TRUE(run({"data:[DONE]\n\n"}, false).terminal);
    EXPECT_TRUE(run({"data: [DONE]\n"}, false).terminal);
    EXPECT_FALSE(run({"data: [DONE]"}, false).terminal);
    EXPECT_FALSE(run({"data: {\"content\":\"[DONE]\"}\n\n"}, false).terminal);
    EXPECT_FALSE(run({"data: {\"text\":\"\\\"type\\\":\\\"response.completed\\\"\"}\n\n"}, false,
                     Route::responses)
                     .terminal);
    EXPECT_TRUE(run({"data: {\"error\":{\"message\":\"x\"}}\n\n"}, false).error);
    EXPECT_TRUE(
        run({"event: error\ndata: {\"type\":\"error\"}\n\n"}, false, Route::responses).error);
    EXPECT_FALSE(run({"data: {\"error\":null}\n\n"}, false).error);
    EXPECT_FALSE(run({"data: {\"x\":{\"error\":1}}\n\n"}, false).error);
}

TEST(StreamScanner, KnowsEventBoundaries)
{
    EXPECT_TRUE(run({}, false).boundary);
    EXPECT_TRUE(run({"data: x\r\n\r"}, false).boundary);
    EXPECT_TRUE(run({"data: x\r\n\r", "\n"}, false).boundary);
    EXPECT_FALSE(run({"data: x\r\n"}, false).boundary);
    EXPECT_FALSE(run({"data: x\r", "\n"}, false).boundary);
    EXPECT_FALSE(run({"data: x\n\nd"}, false).boundary);
}

TEST(StreamScanner, AddsUpWhatSeveralEventsTell)
{
    const auto seen = run(
        {"data: "
         "{\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{\"input_tokens\":8,"
         "\"output_tokens\":1}}}\n\ndata: "
         "{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":6}}\n\n"},
        false, Route::other);
    EXPECT_EQ(seen.usage, (Usage{8, 6, 0, 0, true}));
    EXPECT_EQ(seen.model, "c");
}

TEST(StreamScanner, TellsWhyGenerationEnded)
{
    const std::string chat =
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"no\\\"\"},"
        "\"finish_reason\":null}]}\n\n"
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n" +
        kUsage + kDone;
    EXPECT_EQ(run({chat}, true).finish_reason, "tool_calls");
    const std::string anthropic =
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},"
        "\"usage\":{\"output_tokens\":6}}\n\n";
    EXPECT_EQ(run({anthropic}, false, Route::other).finish_reason, "max_tokens");
    const std::string response =
        "event: response.incomplete\ndata: {\"response\":{\"status\":\"incomplete\","
        "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n";
    EXPECT_EQ(run({response}, false, Route::responses).finish_reason, "incomplete");
}

TEST(StreamScanner, LeavesTwoHundredRandomStreamsAsTheyAre)
{
    std::mt19937 random(20240607);
    const auto below = [&](std::size_t n) { return random() % n; };
    const std::string ends[] = {"\n", "\r", "\r\n"};
    for (int round = 0; round < 200; ++round) {
        std::string text;
        std::string expected;
        const bool with_usage = round % 2 == 0;
        for (std::size_t blocks = 1 + below(12); blocks > 0; --blocks) {
            // A CR that ends one block and an LF that begins the next would be one line end.
            const auto& end = ends[round % 4 == 3 ? 1 : below(2) * 2];
            switch (below(with_usage ? 6 : 5)) {
            case 0:
                expected += with_ends(": comment\n\n", end);
                text += with_ends(": comment\n\n", end);
                break;
            case 1: {
                const auto block =
                    with_ends("data: " + std::string(below(9000), 'y') + "\n\n", end);
                text += block;
                expected += block;
                break;
            }
            case 2:
                text += with_ends(kDone, end);
                expected += with_ends(kDone, end);
                break;
            case 5: text += with_ends(kUsage, end); break;
            default:
                text += with_ends(kText, end);
                expected += with_ends(kText, end);
                break;
            }
        }
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < text.size();) {
            const auto size = 1 + below(round % 3 == 0 ? 10 : 900);
            pieces.push_back(text.substr(at, size));
            at += size;
        }
        ASSERT_EQ(run(pieces, false).out, text) << round;
        ASSERT_EQ(run(pieces, true).out, expected) << round;
    }
}

}  // namespace
}  // namespace llmproxy::openai
