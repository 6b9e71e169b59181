#include "llmproxy/net/proxy_protocol.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::net {
namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string v2(char command, char family, const std::string& payload)
{
    return kSignature + command + family + static_cast<char>(payload.size() >> 8U) +
           static_cast<char>(payload.size() & 0xffU) + payload;
}

const std::string kFour("\x01\x02\x03\x04\x0a\x00\x00\x01\xc3\x50\x01\xbb", 12);

/// Every beginning needs more; the whole is read with and without bytes behind it.
ProxyHeader read_whole(const std::string& text)
{
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto part = parse_proxy_header(text.substr(0, i));
        EXPECT_TRUE(part.has_value() && !part->has_value()) << i;
    }
    const auto header = parse_proxy_header(text + "GET /");
    EXPECT_TRUE(header.has_value() && header->has_value());
    EXPECT_EQ((*header)->consumed, text.size());
    return **header;
}

TEST(ProxyProtocol, ReadsVersionOne)
{
    const auto four = read_whole("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n");
    EXPECT_EQ(four.source->address.to_string(), "192.0.2.1");
    EXPECT_EQ(four.source->port, 56324);
    EXPECT_EQ(four.destination->address.to_string(), "10.0.0.1");
    EXPECT_EQ(four.destination->port, 443);
    const auto six = read_whole("PROXY TCP6 2001:db8::1 ::1 1 0\r\n");
    EXPECT_EQ(six.source->address.to_string(), "2001:db8::1");
    EXPECT_FALSE(read_whole("PROXY UNKNOWN\r\n").source);
    EXPECT_FALSE(read_whole("PROXY UNKNOWN ffff::1 whatever 1 2\r\n").source);
}

TEST(ProxyProtocol, ReadsVersionTwo)
{
    const auto four = read_whole(v2(0x21, 0x11, kFour + std::string("\x04\x00\x02zz", 5)));
    EXPECT_EQ(four.source->address.to_string(), "1.2.3.4");
    EXPECT_EQ(four.source->port, 50000);
    EXPECT_EQ(four.destination->address.to_string(), "10.0.0.1");
    EXPECT_EQ(four.destination->port, 443);
    const auto six = read_whole(
        v2(0x21, 0x21,
           std::string(15, '\0') + '\x01' + std::string(16, '\xfd') + std::string("\0\1\0\2", 4)));
    EXPECT_EQ(six.source->address.to_string(), "::1");
    EXPECT_EQ(six.destination->port, 2);
    EXPECT_FALSE(read_whole(v2(0x20, 0x00, "")).source);
    EXPECT_FALSE(read_whole(v2(0x20, 0x11, kFour)).source);
    EXPECT_FALSE(read_whole(v2(0x21, 0x31, std::string(216, 'u'))).source);
}

TEST(ProxyProtocol, RefusesEverythingElse)
{
    for (const std::string& text : {
             std::string("GET / HTTP/1.1\r\n"),
             std::string("PROXX"),
             std::string("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\n"),
             std::string("PROXY TCP5 192.0.2.1 10.0.0.1 56324 443\r\n"),
             std::string("PROXY TCP4 ::1 ::1 1 2\r\n"),
             std::string("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
             std::string("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
             std::string("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
             "PROXY UNKNOWN " + std::string(100, 'x') + "\r\n",
             v2(0x11, 0x11, kFour),
             v2(0x22, 0x11, kFour),
             v2(0x21, 0x11, kFour.substr(1)),
             v2(0x21, 0x21, kFour),
             v2(0x21, 0x11, std::string(4097, 'x')),
         }) {
        const auto header = parse_proxy_header(text);
        ASSERT_FALSE(header.has_value()) << text;
        EXPECT_EQ(header.error().errc(), core::Errc::bad_request);
    }
}

}  // namespace
}  // namespace llmproxy::net
