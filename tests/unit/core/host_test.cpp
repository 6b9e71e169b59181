#include "llmproxy/core/host.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace llmproxy::core {
namespace {

std::string normalised(std::string_view text)
{
    const auto host = Host::parse(text);
    return host ? host->to_string() : "refused: " + host.error().detail();
}

TEST(Host, NormalisesNames)
{
    const std::string label(63, 'a');
    const std::string longest =
        label + "." + label + "." + label + "." + std::string(61, 'b');  // 253 characters
    const std::pair<std::string, std::string> cases[] = {
        {"api.openai.com", "api.openai.com"},
        {"API.OpenAI.Com", "api.openai.com"},
        {"api.openai.com.", "api.openai.com"},
        {"LOCALHOST", "localhost"},
        {"localhost.", "localhost"},
        {"xn--bcher-kva.Example", "xn--bcher-kva.example"},
        {"_acme.a-b.c_d", "_acme.a-b.c_d"},
        {"1password.com", "1password.com"},
        {"0x7f.1.com", "0x7f.1.com"},
        {"1.2.3.4.example", "1.2.3.4.example"},
        {"x", "x"},
        {"0xyz", "0xyz"},
        {longest, longest},
        {longest + ".", longest},
    };
    for (const auto& [text, expected] : cases) {
        const auto host = Host::parse(text);
        ASSERT_TRUE(host) << text;
        EXPECT_EQ(host->name(), expected);
        EXPECT_FALSE(host->address());
        EXPECT_EQ(host->to_lookup(), expected);
    }
}

TEST(Host, TakesEveryNotationOfAnAddressForThatAddress)
{
    const std::pair<const char*, const char*> cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"127.0.0.1.", "127.0.0.1"},
        {"2130706433", "127.0.0.1"},
        {"2130706433.", "127.0.0.1"},
        {"0x7f.1", "127.0.0.1"},
        {"0X7F.1", "127.0.0.1"},
        {"0177.0.0.1", "127.0.0.1"},
        {"0", "0.0.0.0"},
        {"[::1]", "[::1]"},
        {"[0:0:0:0:0:0:0:1]", "[::1]"},
        {"[::ffff:127.0.0.1]", "127.0.0.1"},
        {"[::FFFF:7f00:1]", "127.0.0.1"},
        {"[::127.0.0.1]", "[::127.0.0.1]"},
        {"[64:ff9b::7f00:1]", "[64:ff9b::7f00:1]"},
        {"[FD00::1]", "[fd00::1]"},
    };
    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(normalised(text), expected) << text;
        ASSERT_TRUE(Host::parse(text)) << text;
        EXPECT_TRUE(Host::parse(text)->address()) << text;
        EXPECT_TRUE(Host::parse(text)->name().empty()) << text;
    }
    EXPECT_EQ(Host::parse("[::1]")->to_lookup(), "::1");
    EXPECT_EQ(*Host::parse("[::ffff:1.2.3.4]"), *Host::parse("0x1020304"));
    EXPECT_EQ(*Host::parse("A.b."), *Host::parse("a.B"));
}

TEST(Host, RefusesWhatIsNeitherNameNorAddress)
{
    const std::string label(64, 'a');
    const std::string too_long = std::string(63, 'a') + "." + std::string(63, 'a') + "." +
                                 std::string(63, 'a') + "." + std::string(62, 'b');
    for (const std::string& text :
         {std::string(), std::string("."), std::string(".."), std::string("a..b"),
          std::string(".a"), std::string("a.."), std::string("-a.b"), std::string("a-.b"),
          std::string("a.-b"), label, label + ".com", too_long, std::string("a b"),
          std::string("a\tb"), std::string(" a"), std::string("a "), std::string("a/b"),
          std::string("a:b"), std::string("a@b"), std::string("a%41"), std::string("%61"),
          std::string("a\\b"), std::string("a,b"), std::string("*"), std::string("*.a"),
          std::string("a?b"), std::string("a#b"), std::string("a\x7f"), std::string("a\0b", 3),
          std::string("b\xc3\xbc"
                      "cher.example"),
          std::string("\xef\xbc\x91.example"), std::string("::1"), std::string("fe80::1"),
          std::string("["), std::string("[]"), std::string("[::1"), std::string("::1]"),
          std::string("[::1]]"), std::string("[::1]x"), std::string("[fe80::1%eth0]"),
          std::string("[fe80::1%25eth0]"), std::string("[::1%]"), std::string("[127.0.0.1]"),
          std::string("[v1.x]"), std::string("[ ::1]"), std::string("[localhost]"),
          // A number at the end that no resolver reads the same way.
          std::string("256.0.0.1"), std::string("1.2.3.4.5"), std::string("4294967296"),
          std::string("127.0.0.08"), std::string("0x"), std::string("a.0x"), std::string("a.1"),
          std::string("example.0x7f"), std::string("1.2.3.0xg1.9"), std::string("09")}) {
        const auto host = Host::parse(text);
        ASSERT_FALSE(host) << text;
        EXPECT_EQ(host.error().errc(), Errc::bad_request);
        EXPECT_EQ(host.error().origin(), Origin::client);
        EXPECT_NE(host.error().message().find(host.error().detail()), std::string_view::npos);
    }
}

TEST(Port, IsCanonicalDecimal)
{
    EXPECT_EQ(parse_port("1"), 1);
    EXPECT_EQ(parse_port("443"), 443);
    EXPECT_EQ(parse_port("65535"), 65535);
    for (const std::string text : {"", "0", "00", "080", "65536", "-1", "+1", " 1", "1 ", "1a",
                                   "0x50", "443,", "99999999999"}) {
        EXPECT_FALSE(parse_port(text)) << text;
    }
}

bool covers(std::string_view pattern, std::string_view host)
{
    const auto parsed = HostPattern::parse(pattern);
    return parsed && parsed->covers(*Host::parse(host));
}

TEST(HostPattern, CoversWhatItNames)
{
    EXPECT_TRUE(covers("api.openai.com", "API.openai.com."));
    EXPECT_FALSE(covers("api.openai.com", "openai.com"));
    EXPECT_FALSE(covers("api.openai.com", "x.api.openai.com"));
    EXPECT_FALSE(covers("api.openai.com", "api.openai.com.evil.test"));
    EXPECT_TRUE(covers("Api.OpenAI.com.", "api.openai.com"));

    EXPECT_TRUE(covers("*.anthropic.com", "api.anthropic.com"));
    EXPECT_TRUE(covers("*.anthropic.com", "a.b.anthropic.com"));
    EXPECT_FALSE(covers("*.anthropic.com", "anthropic.com"));
    EXPECT_FALSE(covers("*.anthropic.com", "evilanthropic.com"));
    EXPECT_FALSE(covers("*.anthropic.com", "anthropic.com.evil.test"));
    EXPECT_TRUE(covers("*.com", "a.com"));
    EXPECT_FALSE(covers("*.com", "com"));
    EXPECT_TRUE(covers("*.xn--bcher-kva.example", "a.XN--bcher-kva.example"));

    EXPECT_TRUE(covers("127.0.0.1", "2130706433"));
    EXPECT_TRUE(covers("127.0.0.1", "[::ffff:127.0.0.1]"));
    EXPECT_FALSE(covers("127.0.0.1", "127.0.0.2"));
    EXPECT_FALSE(covers("127.0.0.1", "localhost"));
    EXPECT_TRUE(covers("[::1]", "[0::1]"));
    EXPECT_TRUE(covers("::1", "[::1]"));
    EXPECT_FALSE(covers("*.0.0.1", "127.0.0.1"));
    EXPECT_TRUE(covers("*", "127.0.0.1"));
    EXPECT_TRUE(covers("*", "[::1]"));
    EXPECT_TRUE(covers("*", "a.b"));
}

TEST(HostPattern, LiesWithinWhatCoversAllOfIt)
{
    const auto within = [](std::string_view inner, std::string_view outer) {
        return HostPattern::parse(inner)->is_within(*HostPattern::parse(outer));
    };
    for (const auto* pattern : {"*", "*.a.b", "a.b", "1.2.3.4", "[::1]:80", "*:1"}) {
        EXPECT_TRUE(within(pattern, pattern)) << pattern;
    }
    EXPECT_TRUE(within("a.b", "*"));
    EXPECT_TRUE(within("1.2.3.4", "*"));
    EXPECT_TRUE(within("*.a.b", "*"));
    EXPECT_TRUE(within("x.a.b", "*.a.b"));
    EXPECT_TRUE(within("*.x.a.b", "*.a.b"));
    EXPECT_TRUE(within("a.b:8443", "*:8443"));
    EXPECT_FALSE(within("*", "*.a.b"));
    EXPECT_FALSE(within("a.b", "*.a.b"));
    EXPECT_FALSE(within("*.a.b", "x.a.b"));
    EXPECT_FALSE(within("*.xa.b", "*.a.b"));
    EXPECT_FALSE(within("a.b", "c.b"));
    EXPECT_FALSE(within("a.b:443", "a.b"));
    EXPECT_FALSE(within("a.b", "a.b:443"));
}

TEST(HostPattern, NamesAPortOrLeavesItToTheUsualOnes)
{
    EXPECT_EQ(HostPattern::parse("a.b:8443")->port(), 8443);
    EXPECT_EQ(HostPattern::parse("a.b")->port(), std::nullopt);
    EXPECT_EQ(HostPattern::parse("*:1")->port(), 1);
    EXPECT_EQ(HostPattern::parse("*.a:443")->port(), 443);
    EXPECT_EQ(HostPattern::parse("1.2.3.4:80")->port(), 80);
    EXPECT_EQ(HostPattern::parse("[::1]:80")->port(), 80);
    EXPECT_EQ(HostPattern::parse("[::1]")->port(), std::nullopt);
    EXPECT_EQ(HostPattern::parse("2001:db8::1")->port(), std::nullopt);
}

TEST(HostPattern, SaysWhatWasExpected)
{
    const std::pair<const char*, const char*> cases[] = {
        {"", "host[:port]"},
        {":443", "host[:port]"},
        {"a.b:", "a port from 1 to 65535"},
        {"a.b:0", "a port from 1 to 65535"},
        {"a.b:65536", "a port from 1 to 65535"},
        {"a.b:https", "a port from 1 to 65535"},
        {"a.b:443:443", "a port from 1 to 65535"},
        {"https://a.b", "a port from 1 to 65535"},
        {"a.b/path", "host[:port]"},
        {"user@a.b", "host[:port]"},
        {"a.*", "'*' alone"},
        {"*a.b", "'*' alone"},
        {"*.*.b", "'*' alone"},
        {"**", "'*' alone"},
        {"a.*.b:443", "'*' alone"},
        {"*.", "host[:port]"},
        {"*.1.2.3.4", "a name after '*.'"},
        {"*.10.0.0.1", "a name after '*.'"},
        {"*.127.1", "a name after '*.'"},
        {"*.[::1]", "a name after '*.'"},
        {"[::1", "a port from 1 to 65535"},
        {"[fe80::1%eth0]", "zone"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--"},
        {"256.1.1.1", "no IPv4 address"},
        {"10.0.0.0/8", "host[:port]"},
    };
    for (const auto& [text, expected] : cases) {
        const auto pattern = HostPattern::parse(text);
        ASSERT_FALSE(pattern) << text;
        EXPECT_EQ(pattern.error().errc(), Errc::bad_request);
        EXPECT_NE(pattern.error().detail().find(expected), std::string::npos)
            << text << ": " << pattern.error().detail();
    }
}

}  // namespace
}  // namespace llmproxy::core
