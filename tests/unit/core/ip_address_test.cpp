#include "llmproxy/core/ip_address.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>

namespace llmproxy::core {
namespace {

std::string parsed(std::string_view text)
{
    const auto address = IpAddress::parse(text);
    return address ? address->to_string() : "none";
}

std::string any_v4(std::string_view text)
{
    const auto address = IpAddress::parse_any_v4(text);
    return address ? address->to_string() : "none";
}

TEST(IpAddress, ReadsUsualTextAndWritesTheCanonicalOne)
{
    const std::pair<const char*, const char*> cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
        {"64:ff9b::7f00:1", "64:ff9b::7f00:1"},
    };
    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(parsed(text), expected);
    }
}

TEST(IpAddress, RefusesEverythingElse)
{
    for (const std::string text : {"",
                                   " ",
                                   "127.0.0.1 ",
                                   "127.1",
                                   "0177.0.0.1",
                                   "127.0.0.01",
                                   "256.0.0.1",
                                   "1.2.3.4.5",
                                   "0x7f.0.0.1",
                                   "2130706433",
                                   "[::1]",
                                   "fe80::1%eth0",
                                   "fe80::1%1",
                                   "::1::",
                                   ":::",
                                   "1:2",
                                   "::ffff:1.2.3.256",
                                   "12345::",
                                   "localhost",
                                   "1.2.3.4/32",
                                   "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"}) {
        EXPECT_EQ(parsed(text), "none") << text;
    }
    EXPECT_EQ(parsed(std::string_view("127.0.0.1\0.evil", 15)), "none");
}

TEST(IpAddress, ReadsEveryNotationOfInetAton)
{
    const std::pair<const char*, const char*> cases[] = {
        {"2130706433", "127.0.0.1"},
        {"0x7f000001", "127.0.0.1"},
        {"0X7F000001", "127.0.0.1"},
        {"017700000001", "127.0.0.1"},
        {"0x7f.1", "127.0.0.1"},
        {"127.1", "127.0.0.1"},
        {"127.0.1", "127.0.0.1"},
        {"127.65530", "127.0.255.250"},
        {"1.2.772", "1.2.3.4"},
        {"0177.0.0.1", "127.0.0.1"},
        {"0177.0x0.00.0x1", "127.0.0.1"},
        {"0000000000177.1", "127.0.0.1"},
        {"0x00000000000007f.1", "127.0.0.1"},
        {"0", "0.0.0.0"},
        {"00", "0.0.0.0"},
        {"4294967295", "255.255.255.255"},
        {"169.16689662", "169.254.169.254"},
        {"10.0xffffff", "10.255.255.255"},
        {"8.8.8.8", "8.8.8.8"},
    };
    for (const auto& [text, expected] : cases) {
        EXPECT_EQ(any_v4(text), expected) << text;
    }
    for (const std::string text :
         {"",           ".",           "1.",         ".1",    "1..2",
          "1.2.3.4.",   "1.2.3.4.5",   "4294967296", "256.1", "1.256.1",
          "1.16777216", "1.2.65536",   "1.2.3.256",  "08",    "0x",
          "0xg",        "1.0x",        "-1",         "+1",    " 1",
          "1 ",         "127.0.0.1%1", "a",          "0b1",   "99999999999999999999"}) {
        EXPECT_EQ(any_v4(text), "none") << text;
    }
}

TEST(IpAddress, UnmapsMappedAddressesOnly)
{
    EXPECT_EQ(IpAddress::parse("::ffff:127.0.0.1")->unmapped().to_string(), "127.0.0.1");
    for (const std::string same : {"::127.0.0.1", "64:ff9b::7f00:1", "::1", "127.0.0.1",
                                   "::fffe:7f00:1", "1::ffff:7f00:1"}) {
        const auto address = IpAddress::parse(same);
        EXPECT_EQ(address->unmapped(), *address) << same;
    }
}

TEST(IpBlock, ContainsWhatItsPrefixCovers)
{
    struct Row {
        const char* block;
        const char* inside;
        const char* outside;
    };
    const Row rows[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.3/8", "10.9.9.9", "9.255.255.255"},
        {"100.64.0.0/10", "100.127.255.255", "100.128.0.0"},
        {"127.0.0.1", "127.0.0.1", "127.0.0.2"},
        {"127.0.0.1", "::ffff:127.0.0.1", "::1"},
        {"::ffff:10.0.0.0/104", "10.2.3.4", "11.0.0.1"},
        {"0.0.0.0/0", "255.1.2.3", "::1"},
        {"::/0", "2001:db8::1", "1.2.3.4"},
        {"fe80::/10", "febf:ffff::1", "fec0::1"},
        {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"::1/128", "::1", "::2"},
    };
    for (const auto& row : rows) {
        const auto block = IpBlock::parse(row.block);
        ASSERT_TRUE(block.has_value()) << row.block;
        EXPECT_TRUE(block->contains(*IpAddress::parse(row.inside))) << row.block;
        EXPECT_FALSE(block->contains(*IpAddress::parse(row.outside))) << row.block;
    }
}

TEST(IpBlock, RefusesWhatIsNoBlock)
{
    for (const std::string text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1",
                                   "10.0.0.0/8 ", "10/8", "fe80::%eth0/10", "10.0.0.0/8/8", "x"}) {
        EXPECT_FALSE(IpBlock::parse(text).has_value()) << text;
    }
}

}  // namespace
}  // namespace llmproxy::core
