#include "config/syntax.hpp"

#include <gtest/gtest.h>

namespace llmproxy::config {
namespace {

TEST(HostPort, ReadsNamesAndAddresses)
{
    EXPECT_EQ(parse_host_port("127.0.0.1:0")->host, "127.0.0.1");
    EXPECT_EQ(parse_host_port("[::1]:65535")->host, "::1");
    EXPECT_EQ(parse_host_port("[::1]:65535")->port, 65535);
    EXPECT_EQ(parse_host_port("localhost:80")->host, "localhost");
    for (const auto* text :
         {"", ":80", "a", "a:", "a:x", "a:-1", "a:65536", "::1:80", "[::1]", "[::g]:1",
          "[1.2.3.4]:1", "256.1.1.1:1", "1.2.3:1", "a b:1", "a..b:1", "[]:1"}) {
        EXPECT_FALSE(parse_host_port(text)) << text;
    }
}

TEST(Loopback, IsWhatOnlyThisMachineReaches)
{
    for (const auto* host : {"127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"}) {
        EXPECT_TRUE(is_loopback(host)) << host;
    }
    for (const auto* host : {"0.0.0.0", "::", "10.0.0.1", "example.com", "::ffff:10.0.0.1"}) {
        EXPECT_FALSE(is_loopback(host)) << host;
    }
}

TEST(HttpUrl, AllowsOnlyTheNamedParts)
{
    for (const auto* url :
         {"http://h", "https://h:1/v1", "HTTPS://[::1]:8443/", "http://1.2.3.4/a/b"}) {
        EXPECT_TRUE(is_http_url(url, {.userinfo = false, .path = true})) << url;
    }
    for (const auto* url :
         {"", "h", "ftp://h", "http://", "http:///x", "http://h:0", "http://h:x", "http://h?q",
          "http://h/#f", "http://u@h", "http://a b", "http://h/\n", "http://[::1", "http://h\\x"}) {
        EXPECT_FALSE(is_http_url(url, {.userinfo = false, .path = true})) << url;
    }
    EXPECT_TRUE(is_http_url("http://u:p@h:1/", {.userinfo = true, .path = false}));
    EXPECT_FALSE(is_http_url("http://u:p@h:1/x", {.userinfo = true, .path = false}));
}

TEST(Cidr, HasAPrefixThatFits)
{
    for (const auto* text : {"10.0.0.0/8", "1.2.3.4", "::1", "fd00::/8", "::/128", "0.0.0.0/0"}) {
        EXPECT_TRUE(is_address_or_cidr(text)) << text;
    }
    for (const auto* text :
         {"", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "host/8", "1.2.3.4/x"}) {
        EXPECT_FALSE(is_address_or_cidr(text)) << text;
    }
}

TEST(Header, IsATokenAndATextWithoutControls)
{
    EXPECT_TRUE(is_header_name("X-Abc_1"));
    EXPECT_FALSE(is_header_name(""));
    EXPECT_FALSE(is_header_name("a:b"));
    EXPECT_TRUE(is_header_value("a\tb \xc3\xa9"));
    EXPECT_FALSE(is_header_value("a\r\nb"));
    EXPECT_TRUE(is_reserved_header("Transfer-ENCODING"));
    EXPECT_TRUE(is_reserved_header("Content-Length"));
    EXPECT_FALSE(is_reserved_header("X-A"));
}

}  // namespace
}  // namespace llmproxy::config
