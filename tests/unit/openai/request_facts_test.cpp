#include "llmproxy/openai/request_facts.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace llmproxy::openai {
namespace {

RequestFacts facts_of(std::string body)
{
    const auto before = body;
    const auto facts = read_facts(body);
    EXPECT_EQ(body, before);
    EXPECT_TRUE(facts.has_value()) << body;
    return facts.has_value() ? *facts : RequestFacts();
}

TEST(RequestFacts, ReadsWhatTheGatewayNeeds)
{
    const auto facts = facts_of(
        R"( {"messages":[{"role":"user","content":"a \"quoted\" \\ \u00e9"}],"temperature":0.5e-1,"x":null,)"
        R"("model":"gpt-4o","stream":true,"max_tokens":10,"max_completion_tokens":20,"n":2,)"
        R"("stream_options":{"other":[1],"include_usage":true}} )");
    EXPECT_EQ(facts.model, "gpt-4o");
    EXPECT_TRUE(facts.stream);
    EXPECT_TRUE(facts.wants_usage());
    EXPECT_EQ(facts.max_tokens, 20U);
    EXPECT_EQ(facts.n, 2U);
    EXPECT_FALSE(usage_splice(facts));
}

TEST(RequestFacts, TakesNullForAbsent)
{
    const auto facts = facts_of(R"({"model":"m","stream":null,"max_tokens":null,"n":null})");
    EXPECT_FALSE(facts.stream);
    EXPECT_FALSE(facts.max_tokens);
    EXPECT_FALSE(facts.n);
    EXPECT_FALSE(facts_of("{}").model);
}

TEST(RequestFacts, UnescapesModelAndKeys)
{
    EXPECT_EQ(facts_of(R"({"mod\u0065l":"gpt\u002d4\/x"})").model, "gpt-4/x");
    std::string body = R"({"model":"a","mod\u0065l":"b"})";
    const auto twice = read_facts(body);
    ASSERT_FALSE(twice.has_value());
    EXPECT_EQ(twice.error().param(), "model");
}

TEST(RequestFacts, RefusesSecondFieldsAndWrongTypesByName)
{
    const std::vector<std::pair<std::string, std::string>> cases{
        {R"({"model":"a","model":"a"})", "model"},
        {R"({"stream":true,"stream":null})", "stream"},
        {R"({"stream_options":null,"stream_options":{}})", "stream_options"},
        {R"({"stream_options":{"include_usage":true,"include_usage":true}})",
         "stream_options.include_usage"},
        {R"({"max_tokens":1,"max_tokens":1})", "max_tokens"},
        {R"({"max_completion_tokens":1,"max_completion_tokens":1})", "max_completion_tokens"},
        {R"({"max_output_tokens":1,"max_output_tokens":1})", "max_output_tokens"},
        {R"({"model":1})", "model"},
        {R"({"model":null})", "model"},
        {R"({"model":["a"]})", "model"},
        {R"({"stream":"true"})", "stream"},
        {R"({"stream":1})", "stream"},
        {R"({"stream_options":true})", "stream_options"},
        {R"({"stream_options":{"include_usage":1}})", "stream_options.include_usage"},
        {R"({"max_tokens":-1})", "max_tokens"},
        {R"({"max_tokens":1.5})", "max_tokens"},
        {R"({"max_tokens":"1"})", "max_tokens"},
        {R"({"max_tokens":99999999999999999999})", "max_tokens"},
        {R"({"n":{}})", "n"},
    };
    for (const auto& [text, param] : cases) {
        auto body = text;
        const auto facts = read_facts(body);
        ASSERT_FALSE(facts.has_value()) << text;
        EXPECT_EQ(facts.error().errc(), core::Errc::bad_request);
        EXPECT_EQ(facts.error().param(), param) << text;
        EXPECT_NE(facts.error().message().find(param), std::string_view::npos);
    }
}

TEST(RequestFacts, RefusesBrokenJsonAlsoInSkippedValues)
{
    const std::vector<std::string> bad{
        "",
        " ",
        "{",
        "}",
        "[]",
        "\"x\"",
        "1",
        "null",
        "tru",
        "{}{}",
        "{} x",
        "{},",
        "{}]",
        "[{}]",
        R"({"a":tru})",
        R"({"a":01})",
        R"({"a":1.})",
        R"({"a":.5})",
        R"({"a":+1})",
        R"({"a":1e})",
        R"({"a":-})",
        R"({"a":nul})",
        R"({"a":nulll})",
        R"({"a":True})",
        R"({"a":NaN})",
        R"({"a":1 2})",
        R"({"a":"x" "y"})",
        R"({"a" 1})",
        R"({"a":})",
        R"({"a":1,})",
        R"({,"a":1})",
        R"({"a":1 "b":2})",
        R"({a:1})",
        R"({"a":[1,]})",
        R"({"a":[,1]})",
        R"({"a":[1 2]})",
        R"({"a":[1:2]})",
        R"({"a":["b":1]})",
        R"({"a":{"b"}})",
        R"({"a":[})",
        R"({"a":{]})",
        R"({"a":[1}})",
        R"({"a":[[]})",
        R"({"a":"x)",
        R"({"a":"\q"})",
        R"({"a":"\u12g4"})",
        R"({"a":"\u12"})",
        R"({"\q":1})",
        R"({"a":{"\q":1}})",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc3\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        R"({"model":"\ud800x"})",
        R"({'a':1})",
        R"({"a":1}/**/)",
        R"({"stream":tru})",
        R"({"stream_options":{"include_usage":nul}})",
        R"({"stream":nul})",
        R"({"n":1x})",
        R"({"stream":{"a":[}})",
        R"({"a":"b"c})",
        R"({"model":"b"c})",
        "\xef\xbb\xbf{}",
        std::string("{}\0", 3),
        "{\"a\":" + std::string(600, '[') + std::string(600, ']') + "}",
    };
    for (const auto& text : bad) {
        auto body = text;
        const auto facts = read_facts(body);
        ASSERT_FALSE(facts.has_value()) << text;
        EXPECT_EQ(facts.error().errc(), core::Errc::bad_request) << text;
    }
}

TEST(RequestFacts, RefusesEveryTruncation)
{
    const std::string whole =
        R"({"model":"m","a":[1,{"b":"c\n"},true,null,-1.5e+3],"stream":false})";
    for (std::size_t i = 0; i < whole.size(); ++i) {
        auto body = whole.substr(0, i);
        EXPECT_FALSE(read_facts(body).has_value()) << body;
    }
    facts_of(whole);
    facts_of("{\"a\":" + std::string(400, '[') + std::string(400, ']') + "}");
    facts_of("{\"model\":\"m\",\"a\":\"" + std::string(1'000'000, 'x') + "\"}");
}

TEST(UsageSplice, AsksForUsageWithTheSmallestChange)
{
    const std::vector<std::pair<std::string, std::string>> cases{
        {R"( {"stream":true})", R"( {"stream_options":{"include_usage":true},"stream":true})"},
        {R"({"stream":true,"stream_options": null })",
         R"({"stream":true,"stream_options": {"include_usage":true} })"},
        {R"({"stream":true,"stream_options":{}})",
         R"({"stream":true,"stream_options":{"include_usage":true}})"},
        {R"({"stream":true,"stream_options":{ "x":1}})",
         R"({"stream":true,"stream_options":{"include_usage":true, "x":1}})"},
        {R"({"stream_options":{"x":1,"include_usage" : false},"stream":true})",
         R"({"stream_options":{"x":1,"include_usage" : true},"stream":true})"},
        {R"({"stream_options":{"include_usage":null},"stream":true})",
         R"({"stream_options":{"include_usage":true},"stream":true})"},
    };
    for (const auto& [text, expected] : cases) {
        const auto facts = facts_of(text);
        EXPECT_FALSE(facts.wants_usage());
        const auto splice = usage_splice(facts);
        ASSERT_TRUE(splice) << text;
        EXPECT_EQ(spliced(text, *splice), expected);
        EXPECT_TRUE(facts_of(expected).wants_usage());
    }
    EXPECT_FALSE(usage_splice(facts_of(R"({"stream":false})")));
    EXPECT_FALSE(usage_splice(facts_of("{}")));
}

TEST(ModelSplice, ChangesTheTopLevelModelOnly)
{
    const std::vector<std::pair<std::string, std::string>> cases{
        {R"({"model":"a"})", R"({"model":"b\"c"})"},
        {R"({ "input":{"model":"a"} , "model" : "a\\\"" , "n":1})",
         R"({ "input":{"model":"a"} , "model" : "b\"c" , "n":1})"},
        {R"({"m\u006fdel":"","x":[1]})", R"({"m\u006fdel":"b\"c","x":[1]})"},
    };
    for (auto [text, expected] : cases) {
        const auto splice = model_splice(text, R"("b\"c")");
        ASSERT_TRUE(splice) << text;
        EXPECT_EQ(spliced(text, *splice), expected);
    }
    std::string without = R"({"input":{"model":"a"}})";
    EXPECT_FALSE(model_splice(without, "\"b\""));
}

}  // namespace
}  // namespace llmproxy::openai
