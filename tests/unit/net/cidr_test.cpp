#include "llmproxy/net/cidr.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::net {
namespace {

bool in(const std::string& block, const std::string& address)
{
    return Cidr::parse(block).value().contains(boost::asio::ip::make_address(address));
}

TEST(Cidr, ContainsItsAddresses)
{
    EXPECT_TRUE(in("10.0.0.0/8", "10.255.1.2"));
    EXPECT_FALSE(in("10.0.0.0/8", "11.0.0.0"));
    EXPECT_TRUE(in("192.168.1.77/25", "192.168.1.127"));
    EXPECT_FALSE(in("192.168.1.77/25", "192.168.1.128"));
    EXPECT_TRUE(in("0.0.0.0/0", "8.8.8.8"));
    EXPECT_FALSE(in("0.0.0.0/0", "2001:db8::1"));
    EXPECT_TRUE(in("127.0.0.1", "127.0.0.1"));
    EXPECT_FALSE(in("127.0.0.1", "127.0.0.2"));
    EXPECT_TRUE(in("2001:db8::/33", "2001:db8:7fff::1"));
    EXPECT_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
}

TEST(Cidr, TakesMappedAddressesForIpv4)
{
    EXPECT_TRUE(in("10.0.0.0/8", "::ffff:10.1.2.3"));
    EXPECT_TRUE(in("::ffff:10.0.0.0/104", "10.1.2.3"));
    EXPECT_FALSE(in("::/0", "::ffff:10.1.2.3"));
}

TEST(Cidr, RefusesWhatIsNoBlock)
{
    for (const std::string text :
         {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/8x",
          "10.0.0.0/ 8", "localhost", "10.0.0.0/8/8", "999999999999"}) {
        EXPECT_FALSE(Cidr::parse(text).has_value()) << text;
    }
}

TEST(Loopback, KnowsNamesAndAddressesOfThisMachine)
{
    for (const std::string host :
         {"localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"}) {
        EXPECT_TRUE(is_loopback(host)) << host;
    }
    for (const std::string host :
         {"", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "[]"}) {
        EXPECT_FALSE(is_loopback(host)) << host;
    }
}

}  // namespace
}  // namespace llmproxy::net
