#include "llmproxy/http/target.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::http {
namespace {

TEST(Target, SplitsPathAndQuery)
{
    const auto plain = parse_origin_form("/v1/models/ft:gpt-4o:org::a.b?limit=1&x=?y%");
    ASSERT_TRUE(plain.has_value());
    EXPECT_EQ(plain->path, "/v1/models/ft:gpt-4o:org::a.b");
    EXPECT_EQ(plain->query, "limit=1&x=?y%");
    EXPECT_TRUE(plain->has_query);
    EXPECT_FALSE(parse_origin_form("/v1/models")->has_query);
    EXPECT_TRUE(parse_origin_form("/x?")->has_query);
    EXPECT_TRUE(parse_origin_form("/").has_value());
}

TEST(Target, KeepsHarmlessPaths)
{
    for (const std::string path :
         {"/v1/files/", "/a...b", "/...", "/.well-known", "/a/..b", "/%41%C3%A9", "/a;b"}) {
        EXPECT_TRUE(parse_origin_form(path).has_value()) << path;
    }
}

TEST(Target, RefusesPathsThatCanBeReadTwoWays)
{
    for (const std::string path :
         {"",       "*",       "v1/x",       "http://h/", "/v1/../x", "/..",      "/.",
          "/v1/.",  "/v1/./x", "/%2e/x",     "/%2E%2e/x", "/.%2e",    "/a/..;/b", "/..;x",
          "/a%2fb", "/a%2Fb",  "/a%5cb",     "/a\\b",     "/a//b",    "//a",      "/a//",
          "/a%",    "/a%4",    "/a%zz",      "/a%00",     "/a%0d%0a", "/a b",     "/a#b",
          "/a\x01", "/a\x7f",  "/a\xc3\xa9", "/a?b#c",    "/a?b c",   "/a?\xff",  "/..%3bx"}) {
        const auto target = parse_origin_form(path);
        ASSERT_FALSE(target.has_value()) << path;
        EXPECT_EQ(target.error().errc(), core::Errc::bad_request);
    }
    EXPECT_FALSE(parse_origin_form(std::string_view("/a\0b", 4)).has_value());
}

}  // namespace
}  // namespace llmproxy::http
