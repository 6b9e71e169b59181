#include "llmproxy/core/text.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace llmproxy::core {
namespace {

std::string escaped(std::string_view text)
{
    std::string out;
    append_json_escaped(out, text);
    return out;
}

TEST(Iequals, IgnoresAsciiCaseOnly)
{
    EXPECT_TRUE(iequals("", ""));
    EXPECT_TRUE(iequals("Content-Length", "content-LENGTH"));
    EXPECT_FALSE(iequals("content-length", "content-lengt"));
    EXPECT_FALSE(iequals("@", "`"));
    EXPECT_FALSE(iequals("[", "{"));
    EXPECT_FALSE(iequals("\xC4", "\xE4"));
}

TEST(Iequals, ReadsWithinBothViews)
{
    // Exactly sized heap blocks, so that a read past the end shows under AddressSanitizer.
    const auto exact = [](std::string_view text) {
        auto block = std::make_unique<char[]>(text.size());
        text.copy(block.get(), text.size());
        return block;
    };
    const auto a = exact("close");
    const auto b = exact("CLOSE");
    EXPECT_TRUE(iequals({a.get(), 5}, {b.get(), 5}));
    EXPECT_FALSE(iequals({a.get(), 5}, {b.get(), 4}));
}

TEST(Trim, CutsSpacesAndTabsOnly)
{
    EXPECT_EQ(trim(" \t a b\t "), "a b");
    EXPECT_EQ(trim(" \t "), "");
    EXPECT_EQ(trim("\r\na\n"), "\r\na\n");
}

TEST(ForEachItem, SkipsEmptyItemsOfAList)
{
    std::vector<std::string_view> items;
    for_each_item(" close , ,keep-alive,\tupgrade ,,",
                  [&](std::string_view item) { items.push_back(item); });
    EXPECT_EQ(items, (std::vector<std::string_view>{"close", "keep-alive", "upgrade"}));
    for_each_item("", [](std::string_view) { FAIL(); });
    for_each_item(" , \t", [](std::string_view) { FAIL(); });
}

TEST(GlobMatch, WithoutAStarIsEquality)
{
    EXPECT_TRUE(glob_match("gpt-4o", "gpt-4o"));
    EXPECT_FALSE(glob_match("gpt-4o", "gpt-4o-mini"));
    EXPECT_FALSE(glob_match("gpt-4o", "GPT-4o"));
    EXPECT_TRUE(glob_match("", ""));
    EXPECT_FALSE(glob_match("", "a"));
    EXPECT_FALSE(glob_match("a?c", "abc"));
    EXPECT_FALSE(glob_match("[ab]", "a"));
}

TEST(GlobMatch, StarStandsForAnyRun)
{
    EXPECT_TRUE(glob_match("*", ""));
    EXPECT_TRUE(glob_match("*", "anything/at all"));
    EXPECT_TRUE(glob_match("gpt-*", "gpt-"));
    EXPECT_TRUE(glob_match("gpt-*", "gpt-4o-mini"));
    EXPECT_FALSE(glob_match("gpt-*", "my-gpt-4"));
    EXPECT_TRUE(glob_match("*-mini", "gpt-4o-mini"));
    EXPECT_FALSE(glob_match("*-mini", "gpt-4o-mini-2"));
    EXPECT_TRUE(glob_match("a*b*c", "a-b-b-c"));
    EXPECT_FALSE(glob_match("a*b*c", "a-c-b"));
    EXPECT_TRUE(glob_match("a**b", "ab"));
    EXPECT_TRUE(glob_match("*ab", "aab"));
}

TEST(GlobMatch, ManyStarsStayPolynomial)
{
    std::string pattern;
    for (int i = 0; i < 50; ++i) {
        pattern += "a*";
    }
    EXPECT_FALSE(glob_match(pattern + "b", std::string(2000, 'a')));
}

TEST(JsonEscape, EscapesQuotesBackslashAndControls)
{
    EXPECT_EQ(escaped(R"(say "hi" \ bye)"), R"(say \"hi\" \\ bye)");
    EXPECT_EQ(escaped("\n\r\t"), R"(\n\r\t)");
    EXPECT_EQ(escaped(std::string_view("\0\x01\x1f\x7f", 4)), R"(\u0000\u0001\u001f\u007f)");
    EXPECT_EQ(escaped("/"), "/");
}

TEST(JsonEscape, KeepsWellFormedUtf8)
{
    const std::string text = "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBF \xF4\x8F\xBF\xBF";
    EXPECT_EQ(escaped(text), text);
}

TEST(JsonEscape, ReplacesWhatIsNotUtf8)
{
    const std::string bad = "\xEF\xBF\xBD";
    EXPECT_EQ(escaped("a\x80z"), "a" + bad + "z");                  // lone continuation
    EXPECT_EQ(escaped("\xC0\xAF"), bad + bad);                      // overlong slash
    EXPECT_EQ(escaped("\xE0\x80\xAF"), bad + bad + bad);            // overlong in three
    EXPECT_EQ(escaped("\xED\xA0\x80"), bad + bad + bad);            // surrogate
    EXPECT_EQ(escaped("\xF4\x90\x80\x80"), bad + bad + bad + bad);  // past U+10FFFF
    EXPECT_EQ(escaped("\xF8\xFF"), bad + bad);                      // never valid
    EXPECT_EQ(escaped("\xE2\x82"), bad + bad);                      // cut at the end
    EXPECT_EQ(escaped("\xE2\x82\""), bad + bad + "\\\"");           // cut before a quote
}

TEST(PercentEncoding, IsUndoneByDecoding)
{
    EXPECT_EQ(percent_encoded("gpt-4o_x.y~Z"), "gpt-4o_x.y~Z");
    EXPECT_EQ(percent_encoded("a b/\xC3\xA4&=%"), "a%20b%2F%C3%A4%26%3D%25");
    std::string all;
    for (int i = 0; i < 256; ++i) {
        all += static_cast<char>(i);
    }
    EXPECT_EQ(percent_decoded(percent_encoded(all)), all);
}

TEST(PercentEncoding, DecodesOnlyWhatIsEncoded)
{
    EXPECT_EQ(percent_decoded("%41%5a%c3%A4"), "AZ\xC3\xA4");
    EXPECT_EQ(percent_decoded("%"), "%");
    EXPECT_EQ(percent_decoded("%4"), "%4");
    EXPECT_EQ(percent_decoded("%4g%-1%+2"), "%4g%-1%+2");
    EXPECT_EQ(percent_decoded("100%2"), "100%2");
}

TEST(JsonEscape, Appends)
{
    std::string out = "{\"k\":\"";
    append_json_escaped(out, "v\"");
    EXPECT_EQ(out, R"({"k":"v\")");
}

}  // namespace
}  // namespace llmproxy::core
