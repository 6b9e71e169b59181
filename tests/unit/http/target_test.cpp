#include "llmproxy/http/target.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

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

TEST(TargetForm, GoesByMethodAndBeginning)
{
    EXPECT_EQ(form_of(Verb::connect, "a.b:443"), TargetForm::authority);
    EXPECT_EQ(form_of(Verb::connect, "/x"), TargetForm::authority);
    EXPECT_EQ(form_of(Verb::get, "/x"), TargetForm::origin);
    EXPECT_EQ(form_of(Verb::options, "*"), TargetForm::asterisk);
    EXPECT_EQ(form_of(Verb::get, "http://a.b/"), TargetForm::absolute);
    EXPECT_EQ(form_of(Verb::get, "a.b:443"), TargetForm::absolute);
    EXPECT_EQ(form_of(Verb::get, "**"), TargetForm::absolute);
    EXPECT_EQ(form_of(Verb::get, ""), TargetForm::absolute);
}

TEST(Authority, NormalisesTheHost)
{
    const std::pair<const char*, const char*> cases[] = {
        {"api.openai.com:443", "api.openai.com:443"},
        {"API.OpenAI.com.:443", "api.openai.com:443"},
        {"x:1", "x:1"},
        {"x:65535", "x:65535"},
        {"127.0.0.1:80", "127.0.0.1:80"},
        {"2130706433:443", "127.0.0.1:443"},
        {"0x7f.1:443", "127.0.0.1:443"},
        {"0177.0.0.1:443", "127.0.0.1:443"},
        {"localhost.:443", "localhost:443"},
        {"[::1]:443", "[::1]:443"},
        {"[::ffff:127.0.0.1]:443", "127.0.0.1:443"},
        {"[64:FF9B::7f00:1]:443", "[64:ff9b::7f00:1]:443"},
        {"xn--bcher-kva.example:443", "xn--bcher-kva.example:443"},
    };
    for (const auto& [text, expected] : cases) {
        const auto authority = parse_authority_form(text);
        ASSERT_TRUE(authority) << text;
        EXPECT_EQ(authority->to_string(), expected);
    }
}

TEST(Authority, RefusesEverythingElse)
{
    for (const std::string text : {"",
                                   "a.b",
                                   "a.b:",
                                   ":443",
                                   "a.b:0",
                                   "a.b:65536",
                                   "a.b:99999999999",
                                   "a.b:0443",
                                   "a.b:+443",
                                   "a.b:-1",
                                   "a.b: 443",
                                   " a.b:443",
                                   "a.b:443 ",
                                   "a.b :443",
                                   "a.b:443/",
                                   "a.b:443/x",
                                   "a.b/x:443",
                                   "/a.b:443",
                                   "//a.b:443",
                                   "http://a.b:443",
                                   "user@a.b:443",
                                   "u:p@a.b:443",
                                   "@a.b:443",
                                   "a.b:443@c.d:443",
                                   "a.b:443?x",
                                   "a.b:443#x",
                                   "a.b:443:443",
                                   "::1:443",
                                   "[::1]",
                                   "[::1]443",
                                   "[::1]x:443",
                                   "[::1:443",
                                   "::1]:443",
                                   "[fe80::1%eth0]:443",
                                   "[fe80::1%25eth0]:443",
                                   "[127.0.0.1]:443",
                                   "a%2eb:443",
                                   "a..b:443",
                                   "a.b..:443",
                                   "*:443",
                                   "*.b:443",
                                   "a,b:443",
                                   "a\tb:443",
                                   "a\r\nb:443",
                                   "a.b:443\r\n",
                                   "b\xc3\xbc.example:443",
                                   "256.256.256.256:443",
                                   "1.2.3.4.5:443",
                                   "a\\b:443",
                                   "a.b:https",
                                   "a.b:4\x01"}) {
        const auto authority = parse_authority_form(text);
        ASSERT_FALSE(authority) << text;
        EXPECT_EQ(authority.error().errc(), core::Errc::bad_request) << text;
        EXPECT_FALSE(authority.error().detail().empty()) << text;
    }
    EXPECT_FALSE(parse_authority_form(std::string_view("a.b\0:443", 8)));
    EXPECT_FALSE(parse_authority_form(std::string_view("a.b:443\0", 8)));
}

struct Forwarded {
    const char* target;
    const char* host_field;
    const char* origin_target;
    std::uint16_t port;
};

TEST(AbsoluteForm, BecomesHostAndOriginForm)
{
    const Forwarded cases[] = {
        {"http://a.b", "a.b", "/", 80},
        {"http://a.b/", "a.b", "/", 80},
        {"HTTP://A.B./x?y=%20", "a.b", "/x?y=%20", 80},
        {"http://a.b?q=1", "a.b", "/?q=1", 80},
        {"http://a.b?", "a.b", "/?", 80},
        {"http://a.b?x@y:1/z", "a.b", "/?x@y:1/z", 80},
        {"http://a.b:80/x", "a.b", "/x", 80},
        {"http://a.b:8080/x", "a.b:8080", "/x", 8080},
        {"http://[::1]:8080/", "[::1]:8080", "/", 8080},
        {"http://[::1]/", "[::1]", "/", 80},
        {"http://[::ffff:10.0.0.1]/", "10.0.0.1", "/", 80},
        {"http://0x7f.1/", "127.0.0.1", "/", 80},
        // Paths are the origin's affair.
        {"http://a.b//x/../y%2fz@1.0;v=1", "a.b", "//x/../y%2fz@1.0;v=1", 80},
        {"http://a.b/http://c.d/", "a.b", "/http://c.d/", 80},
    };
    for (const auto& row : cases) {
        const auto parsed = parse_absolute_form(Verb::get, row.target);
        ASSERT_TRUE(parsed) << row.target;
        std::string origin;
        parsed->append_origin_target(origin);
        EXPECT_EQ(parsed->host_field(), row.host_field);
        EXPECT_EQ(origin, row.origin_target);
        EXPECT_EQ(parsed->authority.port, row.port);
        EXPECT_FALSE(parsed->asterisk);
    }
}

TEST(AbsoluteForm, OptionsWithoutPathIsAboutTheWholeOrigin)
{
    const std::pair<const char*, const char*> cases[] = {
        {"http://a.b", "*"},
        {"http://a.b:8080", "*"},
        {"http://a.b/", "/"},
        {"http://a.b?x", "/?x"},
    };
    for (const auto& [target, expected] : cases) {
        const auto parsed = parse_absolute_form(Verb::options, target);
        ASSERT_TRUE(parsed) << target;
        std::string origin;
        parsed->append_origin_target(origin);
        EXPECT_EQ(origin, expected) << target;
    }
}

TEST(AbsoluteForm, RefusesEverythingElse)
{
    const std::pair<const char*, const char*> cases[] = {
        {"https://a.b/", "CONNECT"},
        {"HTTPS://a.b:443/", "CONNECT"},
        {"ftp://a.b/", "only http://"},
        {"ws://a.b/", "only http://"},
        {"://a.b/", "only http://"},
        {" http://a.b/", "must be encoded"},
        {"http:/a.b/", "neither"},
        {"http:a.b", "neither"},
        {"a.b:80", "neither"},
        {"", "neither"},
        {"*", "neither"},
        {"http://", "it is empty"},
        {"http:///x", "it is empty"},
        {"http://?x", "it is empty"},
        {"http://:80/", "it is empty"},
        {"http://a.b:/", "port"},
        {"http://a.b:0/", "port"},
        {"http://a.b:65536/", "port"},
        {"http://a.b:080/", "port"},
        {"http://user@a.b/", "user information"},
        {"http://user:pass@a.b/", "user information"},
        {"http://@a.b/", "user information"},
        {"http://a.b@/", "user information"},
        {"http://a.b/#x", "must be encoded"},
        {"http://a.b/ x", "must be encoded"},
        {"http://a.b/\xc3\xbc", "must be encoded"},
        {"http://b\xc3\xbc.example/", "must be encoded"},
        {"http://a.b/\x7f", "must be encoded"},
        {"http://a.b\\@c.d/", "user information"},
        {"http://a.b\\c/", "character"},
        {"http://a%2eb/", "character"},
        {"http://[fe80::1%25eth0]/", "zone"},
        {"http://::1/", "port"},
        {"http://1.2.3.4.5/", "no IPv4 address"},
    };
    for (const auto& [target, expected] : cases) {
        const auto parsed = parse_absolute_form(Verb::get, target);
        ASSERT_FALSE(parsed) << target;
        EXPECT_EQ(parsed.error().errc(), core::Errc::bad_request);
        EXPECT_NE(parsed.error().message().find(expected), std::string_view::npos)
            << target << ": " << parsed.error().message();
    }
}

}  // namespace
}  // namespace llmproxy::http
