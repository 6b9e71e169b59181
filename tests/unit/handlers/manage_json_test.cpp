#include "handlers/manage/json.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

std::string nested(std::size_t depth)
{
    return std::string(depth, '[') + std::string(depth, ']');
}

TEST(ManageJson, ReadsWhatIsValid)
{
    const auto parsed = parse_json(R"( {"a":[1,-2,0.5,true,null],"b":{"a":"x"}} )");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->dump(), R"({"a":[1,-2,0.5,true,null],"b":{"a":"x"}})");
    EXPECT_TRUE(parse_json(R"({"a":"\u0000\ud83d\ude00 \"é"})"));
    EXPECT_TRUE(parse_json(R"([{"a":1},{"a":2}])")) << "the same key in two objects";
}

TEST(ManageJson, RefusesWhatIsNot)
{
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("{} {}"), std::string(R"({"a":1,})"),
          std::string("{'a':1}"), std::string("{\"a\":tru}"), std::string("{\"a\":01}"),
          std::string("{\"a\":1e999}"), std::string("{\"a\":NaN}"), std::string("\"\xc3\""),
          std::string("\"\xff\""), std::string("\"\xed\xa0\x80\""), std::string("\"a\nb\""),
          std::string(R"("\ud800")"), std::string("// x\n{}"), std::string("{}\0", 3),
          std::string("{}\0,\"x\"", 7)}) {
        const auto parsed = parse_json(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().errc(), core::Errc::bad_request);
        EXPECT_TRUE(parsed.error().message().starts_with("The body is not valid JSON"))
            << parsed.error().message();
    }
}

TEST(ManageJson, RefusesAKeyThatStandsTwice)
{
    for (const auto* text : {R"({"name":"a","name":"b"})", R"({"x":[{"name":1,"name":1}]})",
                             R"({"name":1,"n\u0061me":2})"}) {
        const auto parsed = parse_json(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().param(), "name");
    }
}

TEST(ManageJson, BoundsTheDepth)
{
    EXPECT_TRUE(parse_json(nested(kMaxDepth)));
    EXPECT_FALSE(parse_json(nested(kMaxDepth + 1)));
    EXPECT_FALSE(parse_json(nested(100'000)));
}

TEST(ManageJson, WritesTextsThatAreNotUtf8AllTheSame)
{
    EXPECT_EQ(to_text(Json("a\xff")), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace llmproxy::handlers::manage
