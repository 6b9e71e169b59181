#include "llmproxy/policy/address_class.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace llmproxy::policy {
namespace {

std::string_view class_of(const std::string& text)
{
    const auto address = core::IpAddress::parse(text);
    return address ? to_text(classify(*address)) : "no address";
}

TEST(AddressClass, FollowsTheRegistries)
{
    struct Row {
        const char* expected;
        std::vector<std::string> addresses;
    };
    const Row rows[] = {
        {"global", {"1.1.1.1",         "8.8.8.8",         "9.255.255.255",   "11.0.0.0",
                    "100.63.255.255",  "100.128.0.0",     "126.255.255.255", "128.0.0.0",
                    "169.253.255.255", "169.255.0.0",     "172.15.255.255",  "172.32.0.0",
                    "192.0.1.0",       "192.167.255.255", "192.169.0.0",     "198.17.255.255",
                    "198.20.0.0",      "223.255.255.255", "2606:4700::1111", "2001:200::1",
                    "2001:4860::8888", "2000::1",         "3ffe::1",         "3fff:1000::"}},
        {"unspecified", {"0.0.0.0", "0.0.0.1", "0.255.255.255", "::"}},
        {"loopback", {"127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1"}},
        {"private_use",
         {"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
          "192.168.255.255", "::ffff:10.0.0.1"}},
        {"shared", {"100.64.0.0", "100.64.0.1", "100.127.255.255"}},
        {"link_local", {"169.254.0.0", "169.254.169.253", "169.254.255.255", "fe80::1", "febf::"}},
        {"unique_local", {"fc00::", "fd00::1", "fdff:ffff::1", "fd00:ec2::253"}},
        {"site_local", {"fec0::1", "feff::"}},
        {"metadata",
         {"169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254",
          "168.63.129.16", "100.100.100.200"}},
        {"multicast", {"224.0.0.0", "239.255.255.255", "ff00::", "ff02::1"}},
        {"broadcast", {"255.255.255.255"}},
        {"documentation",
         {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::"}},
        {"benchmarking", {"198.18.0.0", "198.19.255.255", "2001:2::1", "2001:2:0:ffff::"}},
        {"protocol_assignment",
         {"192.0.0.0", "192.0.0.170", "192.88.99.1", "2001:1::1", "2001:20::1",
          "2001:1ff::", "5f00::1"}},
        {"discard_only", {"100::", "100::ffff", "100:0:0:1::1"}},
        {"nat64", {"64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::"}},
        {"nat64_local", {"64:ff9b:1::1", "64:ff9b:1:ffff::808:808"}},
        {"sixtofour", {"2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002::"}},
        {"teredo", {"2001::1", "2001:0:ffff::"}},
        {"v4_compatible", {"::2", "::127.0.0.1", "::8.8.8.8"}},
        {"reserved",
         {"240.0.0.0", "255.255.255.254", "64:ff9b:2::1", "100:0:0:2::", "4000::1", "8000::1",
          "1::", "e000::1", "fe00::1", "::fffe:0:0"}},
    };
    std::set<std::string_view> seen;
    for (const auto& row : rows) {
        seen.insert(row.expected);
        for (const auto& address : row.addresses) {
            EXPECT_EQ(class_of(address), row.expected) << address;
        }
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(AddressClass::reserved) + 1);
}

TEST(AddressClass, LooksIntoTranslatedAddresses)
{
    EXPECT_EQ(class_of("64:ff9b::8.8.8.8"), "global");
    EXPECT_EQ(class_of("2002:808:808::1"), "global");
    EXPECT_EQ(class_of("::ffff:8.8.8.8"), "global");
    EXPECT_EQ(class_of("64:ff9b:1::8.8.8.8"), "nat64_local");
}

TEST(AddressClass, FindsTheEmbeddedAddress)
{
    const std::pair<const char*, const char*> cases[] = {
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"::10.0.0.1", "10.0.0.1"},
        {"64:ff9b::7f00:1", "127.0.0.1"},
        {"2002:c0a8:1::5", "192.168.0.1"},
        {"10.0.0.1", "none"},
        {"::1", "none"},
        {"::", "none"},
        {"2001:db8::1", "none"},
        {"64:ff9b:1::7f00:1", "none"},
    };
    for (const auto& [text, expected] : cases) {
        const auto inner = embedded_v4(*core::IpAddress::parse(text));
        EXPECT_EQ(inner ? inner->to_string() : "none", expected) << text;
    }
}

}  // namespace
}  // namespace llmproxy::policy
