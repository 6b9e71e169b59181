#include "cli/url.hpp"

#include <gtest/gtest.h>

namespace llmproxy::cli {
namespace {

TEST(CliUrl, IsTakenApart)
{
    const auto plain = parse_url("http://127.0.0.1:8889");
    ASSERT_TRUE(plain);
    EXPECT_FALSE(plain->tls);
    EXPECT_EQ(plain->host, "127.0.0.1");
    EXPECT_EQ(plain->port, 8889);
    EXPECT_EQ(plain->authority, "127.0.0.1:8889");
    EXPECT_EQ(plain->path, "");

    const auto tls = parse_url("HTTPS://Proxy.Example/llm/");
    ASSERT_TRUE(tls);
    EXPECT_TRUE(tls->tls);
    EXPECT_EQ(tls->host, "proxy.example");
    EXPECT_EQ(tls->port, 443);
    EXPECT_EQ(tls->path, "/llm");

    const auto v6 = parse_url("http://[::1]:1/x");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "::1");
    EXPECT_EQ(v6->port, 1);
    EXPECT_EQ(v6->authority, "[::1]:1");
    EXPECT_EQ(parse_url("http://[::1]")->port, 80);
}

TEST(CliUrl, OthersAreRefused)
{
    for (const auto* text : {"", "http", "http:/", "http://", "ftp://a", "127.0.0.1:1", "http://:1",
                             "http://a:", "http://a:0", "http://a:65536", "http://a:1x",
                             "http://u:p@a", "http://a/?q", "http://a/#f", "http://a b",
                             "http://a\r\nX: 1", "http://[::1", "http://::1:80", "http://-a"}) {
        EXPECT_FALSE(parse_url(text)) << text;
    }
}

}  // namespace
}  // namespace llmproxy::cli
