#include "llmproxy/net/ip.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace llmproxy::net {
namespace {

namespace ip = boost::asio::ip;

TEST(Ip, IsTheSameAddressForAsioAndForUs)
{
    for (const auto* text : {"127.0.0.1", "8.8.8.8", "::1", "2001:db8::1", "64:ff9b::7f00:1"}) {
        const auto ours = *core::IpAddress::parse(text);
        EXPECT_EQ(to_core(ip::make_address(text)), ours) << text;
        EXPECT_EQ(to_asio(ours), ip::make_address(text)) << text;
    }
    EXPECT_EQ(to_core(ip::make_address("::ffff:10.0.0.1")), *core::IpAddress::parse("10.0.0.1"));
    EXPECT_EQ(to_core(ip::make_address("fe80::1%1")), *core::IpAddress::parse("fe80::1"));
}

TEST(Ip, KnowsLoopbackAmongTheLocalAddresses)
{
    const auto local = local_addresses();
    ASSERT_TRUE(local);
    EXPECT_NE(std::find(local->begin(), local->end(), *core::IpAddress::parse("127.0.0.1")),
              local->end());
}

}  // namespace
}  // namespace llmproxy::net
