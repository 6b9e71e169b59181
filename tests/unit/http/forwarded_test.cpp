#include "llmproxy/http/forwarded.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::http {
namespace {

std::string client(const std::string& peer, const std::vector<std::string_view>& values)
{
    const std::vector<net::Cidr> trusted{*net::Cidr::parse("10.0.0.0/8"),
                                         *net::Cidr::parse("fd00::/8")};
    return forwarded_client(boost::asio::ip::make_address(peer), values, trusted).to_string();
}

TEST(Forwarded, IgnoresTheHeaderOfUntrustedPeers)
{
    EXPECT_EQ(client("192.0.2.1", {"1.1.1.1"}), "192.0.2.1");
    EXPECT_EQ(client("10.0.0.1", {}), "10.0.0.1");
}

TEST(Forwarded, WalksFromTheRightWhileProxiesAreTrusted)
{
    EXPECT_EQ(client("10.0.0.1", {"6.6.6.6, 198.51.100.7, 10.0.0.2"}), "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"6.6.6.6", "198.51.100.7 ,", "10.0.0.2"}), "198.51.100.7");
    EXPECT_EQ(client("::ffff:10.0.0.1", {"::ffff:198.51.100.7"}), "198.51.100.7");
    EXPECT_EQ(client("fd00::1", {"[2001:db8::5]:443"}), "2001:db8::5");
    EXPECT_EQ(client("10.0.0.1", {"198.51.100.7:5000"}), "198.51.100.7");
    EXPECT_EQ(client("10.0.0.1", {"10.0.0.3, 10.0.0.2"}), "10.0.0.3");
}

TEST(Forwarded, StopsAtWhatIsNoAddress)
{
    for (const std::string_view value :
         {"6.6.6.6, unknown", "6.6.6.6, [::1", "6.6.6.6, 1.2.3", "6.6.6.6, [::1]x"}) {
        EXPECT_EQ(client("10.0.0.1", {value}), "10.0.0.1") << value;
    }
    const std::string flood(100'000, ',');
    EXPECT_EQ(client("10.0.0.1", {flood}), "10.0.0.1");
}

}  // namespace
}  // namespace llmproxy::http
