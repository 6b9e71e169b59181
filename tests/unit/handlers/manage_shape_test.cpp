#include "handlers/manage/shape.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

const Shape kInner{"Inner", "", {name_field("id", "").must()}};

const Shape kShape{"Sample",
                   "",
                   {name_field("name", "").must(), field("count", Kind::integer, "").between(1, 10),
                    field("flag", Kind::boolean, ""), field("cost", Kind::usd, "").or_null(),
                    field("at", Kind::time, "").or_null(),
                    field("mode", Kind::text, "").one_of({"a", "b", "c"}),
                    field("words", Kind::text, "").between(1, 3).list(2), object("one", kInner, ""),
                    object("many", kInner, "").list(3),
                    field("even", Kind::text, "")
                        .between(0, 10)
                        .checked([](std::string_view text) -> std::string_view {
                            return text.size() % 2 == 0 ? "" : "of an even length";
                        })}};

/// `param` of the refusal; empty if there was none.
std::string refused(const std::string& text)
{
    const auto value = parse_json(text);
    if (!value) {
        return "not JSON";
    }
    const auto checked = conform(*value, kShape);
    if (checked) {
        return "";
    }
    EXPECT_EQ(checked.error().errc(), core::Errc::bad_request);
    EXPECT_FALSE(checked.error().message().empty());
    return checked.error().param().empty() ? "(whole)" : checked.error().param();
}

std::string with(const std::string& member)
{
    return R"({"name":"x",)" + member + "}";
}

TEST(ManageShape, TakesWhatConforms)
{
    for (const auto* member :
         {R"("count":1)", R"("count":10)", R"("flag":false)", R"("cost":"0.000000001")",
          R"("cost":12)", R"("cost":0.1)", R"("cost":null)", R"("at":"2026-01-31T00:00:00Z")",
          R"("at":"2026-01-31")", R"("at":null)", R"("mode":"b")", R"("words":[])",
          R"("words":["a","äöü"])", R"("one":{"id":"1"})", R"("many":[{"id":"1"},{"id":"2"}])",
          R"("even":"")"}) {
        EXPECT_EQ(refused(with(member)), "") << member;
    }
    EXPECT_EQ(refused(R"({"name":"'; DROP TABLE projects; -- %s \"x\" 中文 😀"})"), "");
    EXPECT_EQ(refused(R"({"name":")" + std::string(200, 'n') + R"("})"), "");
}

TEST(ManageShape, NamesTheFieldThatDoesNot)
{
    struct Case {
        const char* member;
        const char* param;
    };
    for (const auto& [member, param] : std::initializer_list<Case>{
             {R"("count":0)", "count"},
             {R"("count":11)", "count"},
             {R"("count":1.0)", "count"},
             {R"("count":"1")", "count"},
             {R"("count":18446744073709551615)", "count"},
             {R"("count":null)", "count"},
             {R"("flag":"true")", "flag"},
             {R"("flag":1)", "flag"},
             {R"("cost":"1.0000000001")", "cost"},
             {R"("cost":-1)", "cost"},
             {R"("cost":"1e3")", "cost"},
             {R"("cost":1e-10)", "cost"},
             {R"("cost":1e30)", "cost"},
             {R"("cost":true)", "cost"},
             {R"("at":"tomorrow")", "at"},
             {R"("at":5)", "at"},
             {R"("mode":"d")", "mode"},
             {R"("mode":["a"])", "mode"},
             {R"("words":"a")", "words"},
             {R"("words":["a","b","c"])", "words"},
             {R"("words":["a",""])", "words[1]"},
             {R"("words":["abcd"])", "words[0]"},
             {R"("words":[null])", "words[0]"},
             {R"("one":[])", "one"},
             {R"("one":{})", "one.id"},
             {R"("one":{"id":"1","x":1})", "one.x"},
             {R"("many":[{"id":"1"},{"id":2}])", "many[1].id"},
             {R"("even":"odd")", "even"},
             {R"("unknown":1)", "unknown"},
             {R"("Name":"x")", "Name"},
         }) {
        EXPECT_EQ(refused(with(member)), param) << member;
    }
    EXPECT_EQ(refused("{}"), "name");
    EXPECT_EQ(refused(R"({"name":""})"), "name");
    EXPECT_EQ(refused(R"({"name":null})"), "name");
    EXPECT_EQ(refused(R"({"name":"a\u0000b"})"), "name");
    EXPECT_EQ(refused(R"({"name":"a\nb"})"), "name");
    EXPECT_EQ(refused(R"({"name":"a\u007fb"})"), "name");
    EXPECT_EQ(refused(R"({"name":")" + std::string(10'240, 'n') + R"("})"), "name");
    EXPECT_EQ(refused("[]"), "(whole)");
    EXPECT_EQ(refused("\"x\""), "(whole)");
    EXPECT_EQ(refused("null"), "(whole)");
}

TEST(ManageShape, AQuestionIsReadAsTypedValues)
{
    const auto query =
        parse_query("name=a%20b+c%2Bd&count=7&flag=true&words=a,b&mode=c", kShape.properties);
    ASSERT_TRUE(query);
    EXPECT_EQ(query->dump(),
              R"({"name":"a b c+d","count":7,"flag":true,"words":["a","b"],"mode":"c"})");
    const auto nothing = parse_query("", kShape.properties);
    ASSERT_TRUE(nothing);
    EXPECT_TRUE(nothing->empty());
    EXPECT_TRUE(parse_query("&name=%C3%A4&", kShape.properties));
}

TEST(ManageShape, AQuestionIsRefusedByTheParameter)
{
    struct Case {
        const char* query;
        const char* param;
    };
    for (const auto& [query, param] : std::initializer_list<Case>{
             {"nam=x", "nam"},
             {"name=x&name=y", "name"},
             {"count=", "count"},
             {"count=1x", "count"},
             {"count=+1", "count"},
             {"count=99", "count"},
             {"flag=yes", "flag"},
             {"mode=", "mode"},
             {"name=", "name"},
             {"name", "name"},
             {"name=a%00b", "name"},
             {"name=%C3", ""},
             {"name=%zz", ""},
             {"name=%4", ""},
             {"%ff=1", ""},
             {"at=yesterday", "at"},
             {"words=a,bcde", "words[1]"},
         }) {
        const auto parsed = parse_query(query, kShape.properties);
        ASSERT_FALSE(parsed) << query;
        EXPECT_EQ(parsed.error().param(), param) << query;
        EXPECT_EQ(parsed.error().errc(), core::Errc::bad_request);
    }
}

}  // namespace
}  // namespace llmproxy::handlers::manage
