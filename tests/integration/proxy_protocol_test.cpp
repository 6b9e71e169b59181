// Who the client is: PROXY protocol headers and X-Forwarded-For, believed only from trusted proxies.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kTrusting = "[127.0.0.0/8, \"::1\", 192.0.2.0/24]";
const std::string kElsewhere = "[192.0.2.0/24]";
const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
const std::string kFour("\xcb\x00\x71\x07\x0a\x00\x00\x01\xc3\x50\x01\xbb", 12);  // 203.0.113.7

std::string v2(char command, char family, const std::string& payload)
{
    return kSignature + command + family + static_cast<char>(payload.size() >> 8U) +
           static_cast<char>(payload.size() & 0xffU) + payload;
}

std::string v1(const std::string& source = "203.0.113.7")
{
    return "PROXY TCP4 " + source + " 10.0.0.1 50000 443\r\n";
}

std::string six_bytes()
{
    return std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x07" +
           std::string(15, '\0') + "\x01" + std::string("\0\1\0\2", 4);
}

struct Named {
    std::string name;
    std::string header;
    std::string client;  ///< in the access log; empty: the connection is refused
};

std::ostream& operator<<(std::ostream& out, const Named& item)
{
    return out << item.name;
}

std::string item_name(const testing::TestParamInfo<Named>& item)
{
    return item.param.name;
}

class ProxyProtocol : public testing::Test {
protected:
    [[nodiscard]] GatewayConfig config(const std::string& trusted,
                                       const std::string& more_keys = {}) const
    {
        GatewayConfig made(backend.url());
        made.listen("    - { name: main, address: \"127.0.0.1:0\", serve: [gateway], "
                    "proxy_protocol: true" +
                    more_keys + " }\n");
        return made.server_key("trusted_proxies", trusted);
    }

    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
};

class GoodProxyHeader : public ProxyProtocol, public testing::WithParamInterface<Named> {};

class BadProxyHeader : public ProxyProtocol, public testing::WithParamInterface<Named> {};

std::vector<Named> good()
{
    return {
        {"V1Tcp4", v1(), "203.0.113.7"},
        {"V1Tcp6", "PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"},
        {"V1Unknown", "PROXY UNKNOWN\r\n", "127.0.0.1"},
        {"V1UnknownWithAddresses", "PROXY UNKNOWN 203.0.113.7 10.0.0.1 1 2\r\n", "127.0.0.1"},
        {"V2Tcp4", v2(0x21, 0x11, kFour), "203.0.113.7"},
        {"V2Tcp6", v2(0x21, 0x21, six_bytes()), "2001:db8::7"},
        {"V2WithTlvs", v2(0x21, 0x11, kFour + std::string("\x04\x00\x02zz", 5)), "203.0.113.7"},
        {"V2LongestAllowed", v2(0x21, 0x11, kFour + std::string(4096 - 12, '\x04')), "203.0.113.7"},
        {"V2Local", v2(0x20, 0x00, ""), "127.0.0.1"},
        {"V2LocalWithAddresses", v2(0x20, 0x11, kFour), "127.0.0.1"},
        {"V2Unspecified", v2(0x21, 0x00, "whatever"), "127.0.0.1"},
        {"V2Unix", v2(0x21, 0x31, std::string(216, 'u')), "127.0.0.1"},
    };
}

std::vector<Named> bad()
{
    return {
        {"None", "", ""},
        {"V1NoCarriageReturn", "PROXY TCP4 203.0.113.7 10.0.0.1 50000 443\n", ""},
        {"V1WrongFamily", "PROXY TCP4 ::1 ::1 1 2\r\n", ""},
        {"V1Port", "PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n", ""},
        {"V1TooLong", "PROXY UNKNOWN " + std::string(200, 'x') + "\r\n", ""},
        {"V1Lowercase", "proxy tcp4 203.0.113.7 10.0.0.1 1 2\r\n", ""},
        {"V2Version", v2(0x11, 0x11, kFour), ""},
        {"V2Command", v2(0x22, 0x11, kFour), ""},
        {"V2ShortAddresses", v2(0x21, 0x11, kFour.substr(1)), ""},
        {"V2TooLong", v2(0x21, 0x11, std::string(4097, 'x')), ""},
        {"V2BrokenSignature", kSignature.substr(0, 11) + "X\x21\x11", ""},
    };
}

}  // namespace

TEST_P(GoodProxyHeader, NamesTheClientOfEveryRequest)
{
    ProxyUnderTest proxy{config(kTrusting)};
    auto client = proxy.connect();
    client.send(GetParam().header + chat());  // in one segment
    for (int i = 0; i < 2; ++i) {
        const auto reply = i == 0 ? client.response() : client.ask(chat());
        ASSERT_EQ(reply.status, 200) << reply.body;
        EXPECT_EQ(proxy.access_line(reply)["client"], GetParam().client);
    }
    EXPECT_FALSE(has_text(backend.last_request().head.raw, "PROXY"));
}

TEST_P(GoodProxyHeader, MayComeByteByByte)
{
    ProxyUnderTest proxy{config(kTrusting)};
    auto client = proxy.connect();
    const auto& header = GetParam().header;
    client.send_in_pieces(header.substr(0, 64), 1);
    client.send_in_pieces(header.size() > 64 ? header.substr(64) : "", 1000);
    client.send_in_pieces(chat(), 100);
    const auto reply = client.response();
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(proxy.access_line(reply)["client"], GetParam().client);
}

INSTANTIATE_TEST_SUITE_P(Header, GoodProxyHeader, testing::ValuesIn(good()), item_name);

TEST_P(BadProxyHeader, ClosesTheConnection)
{
    ProxyUnderTest proxy{config(kTrusting)};
    auto client = proxy.connect();
    client.send(GetParam().header + chat());
    const auto end = client.read_to_end();
    EXPECT_TRUE(end == ReadEnd::fin || end == ReadEnd::reset);
    EXPECT_EQ(client.buffer(), "") << "nothing is said to who is no PROXY speaker";
    EXPECT_EQ(backend.connection_count(), 0U);
    auto next = proxy.connect();
    next.send(v1());
    EXPECT_EQ(next.ask(chat()).status, 200);
    proxy.stop_now();
    proxy.wait();
    EXPECT_TRUE(has_text(proxy.diagnostics(), "no PROXY protocol header"));
}

INSTANTIATE_TEST_SUITE_P(Header, BadProxyHeader, testing::ValuesIn(bad()), item_name);

TEST_F(ProxyProtocol, StalledHeadersAreGivenUpAtTheHeaderTimeout)
{
    ProxyUnderTest proxy{config(kTrusting).set("limits", "{ header_timeout: 150ms }")};
    for (const auto& begun : {std::string(), std::string("PROXY TC"), kSignature.substr(0, 5),
                              v2(0x21, 0x11, kFour).substr(0, 20)}) {
        auto client = proxy.connect();
        client.send(begun);
        const auto end = client.read_to_end();
        EXPECT_TRUE(end == ReadEnd::fin || end == ReadEnd::reset) << begun.size();
        EXPECT_EQ(client.buffer(), "");
    }
    EXPECT_EQ(backend.connection_count(), 0U);
}

TEST_F(ProxyProtocol, IsNotReadFromOthers)
{
    ProxyUnderTest proxy{config(kElsewhere)};
    const auto plain = proxy.ask(chat());
    EXPECT_EQ(plain.status, 200) << "who is no trusted proxy speaks HTTP at once";
    EXPECT_EQ(proxy.access_line(plain)["client"], "127.0.0.1");
    for (const auto& header : {v1(), v2(0x21, 0x11, kFour)}) {
        auto client = proxy.connect();
        client.send(header + chat());
        EXPECT_EQ(client.response().status, 400);
        EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    }
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(ProxyProtocol, StandsBeforeTls)
{
    TestCa ca;
    const auto leaf = ca.issue();
    for (const auto* plain_too : {"false", "true"}) {
        ProxyUnderTest proxy{config(kTrusting, ", tls: { certificate: \"" + leaf.certificate +
                                                   "\", key: \"" + leaf.key +
                                                   "\", allow_plain: " + plain_too + " }")};
        auto client = proxy.connect();
        client.send(v1());
        ASSERT_TRUE(client.wire().connect_tls(ca.client(), "localhost"));
        const auto reply = client.ask(chat());
        ASSERT_EQ(reply.status, 200);
        EXPECT_EQ(proxy.access_line(reply)["client"], "203.0.113.7");
    }
}

TEST_F(ProxyProtocol, ClientItNamesIsTrustedNoFurther)
{
    ProxyUnderTest proxy{config(kTrusting)};
    const std::string fields = "X-Forwarded-For: 198.51.100.9\r\nX-Request-Id: mine-1\r\n";
    auto stranger = proxy.connect();
    stranger.send(v1() + chat("m", false, fields));
    const auto first = stranger.response();
    EXPECT_NE(first.head["x-llm-proxy-request-id"], "mine-1");
    EXPECT_EQ(proxy.access_line(first)["client"], "203.0.113.7");
    auto known = proxy.connect();
    known.send(v1("192.0.2.3") + chat("m", false, fields));
    const auto second = known.response();
    EXPECT_EQ(second.head["x-llm-proxy-request-id"], "mine-1");
    EXPECT_EQ(proxy.access_line(second)["client"], "198.51.100.9");
}

namespace {

struct Forwarded {
    std::string name;
    std::string fields;
    std::string client;
};

std::ostream& operator<<(std::ostream& out, const Forwarded& item)
{
    return out << item.name;
}

std::string forwarded_name(const testing::TestParamInfo<Forwarded>& item)
{
    return item.param.name;
}

class ForwardedFor : public testing::TestWithParam<Forwarded> {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
};

std::vector<Forwarded> chains()
{
    const std::string name = "X-Forwarded-For: ";
    return {
        {"None", "", "127.0.0.1"},
        {"One", name + "203.0.113.7\r\n", "203.0.113.7"},
        {"LastStranger", name + "1.1.1.1, 203.0.113.7\r\n", "203.0.113.7"},
        {"PastTrustedHops", name + "203.0.113.7, 192.0.2.1,192.0.2.2\r\n", "203.0.113.7"},
        {"TwoFields", name + "1.1.1.1\r\n" + name + "203.0.113.7, 192.0.2.1\r\n", "203.0.113.7"},
        {"AllTrusted", name + "192.0.2.1, 192.0.2.2\r\n", "192.0.2.1"},
        {"WithPort", name + "203.0.113.7:4711\r\n", "203.0.113.7"},
        {"Six", name + "[2001:db8::7]:4711\r\n", "2001:db8::7"},
        {"Mapped", name + "::ffff:203.0.113.7\r\n", "203.0.113.7"},
        {"Garbage", name + "203.0.113.7, unknown\r\n", "127.0.0.1"},
        {"GarbagePastATrustedHop", name + "<script>, 192.0.2.1\r\n", "192.0.2.1"},
        {"Empty", name + "\r\n", "127.0.0.1"},
    };
}

}  // namespace

TEST_P(ForwardedFor, OfATrustedProxyNamesTheClient)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("trusted_proxies", kTrusting)};
    const auto reply = proxy.ask(chat("m", false, GetParam().fields));
    ASSERT_EQ(reply.status, 200);
    EXPECT_EQ(proxy.access_line(reply)["client"], GetParam().client);
}

TEST_P(ForwardedFor, OfAnotherIsOnlyLogged)
{
    for (const std::string& trusted : {std::string("[]"), kElsewhere}) {
        ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("trusted_proxies", trusted)};
        const auto reply = proxy.ask(chat("m", false, GetParam().fields));
        ASSERT_EQ(reply.status, 200);
        EXPECT_EQ(proxy.access_line(reply)["client"], "127.0.0.1");
    }
}

INSTANTIATE_TEST_SUITE_P(Chain, ForwardedFor, testing::ValuesIn(chains()), forwarded_name);

TEST(TrustedProxies, ForwardedFieldsGoToTheBackendAsTheyCame)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    for (const std::string& trusted : {kTrusting, kElsewhere}) {
        ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("trusted_proxies", trusted)};
        const auto reply = proxy.ask(chat(
            "m", false, "X-Forwarded-For: 203.0.113.7, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"));
        const auto head = backend.last_request().head;
        EXPECT_EQ(head.count("x-forwarded-for"), 1U);
        EXPECT_EQ(head["x-forwarded-for"], "203.0.113.7, 192.0.2.1");
        EXPECT_EQ(head["x-forwarded-proto"], "https");
        EXPECT_EQ(proxy.access_line(reply)["forwarded_for"], "203.0.113.7, 192.0.2.1");
    }
}

TEST(TrustedProxies, RequestIdsOfOthersAreReplaced)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    const auto id_from = [&](const std::string& trusted) {
        ProxyUnderTest proxy{GatewayConfig(backend.url()).server_key("trusted_proxies", trusted)};
        const auto reply = proxy.ask(chat("m", false, "X-Request-Id: given-1\r\n"));
        const auto id = reply.head["x-llm-proxy-request-id"];
        EXPECT_EQ(backend.last_request().head["x-request-id"], id);
        EXPECT_EQ(backend.last_request().head.count("x-request-id"), 1U);
        EXPECT_EQ(proxy.access_line(id)["request_id"], id);
        return id;
    };
    EXPECT_EQ(id_from(kTrusting), "given-1");
    EXPECT_EQ(id_from("[]"), "given-1") << "without any proxy in front, clients name requests";
    EXPECT_EQ(id_from(kElsewhere).size(), 36U) << "with one, who passes it by does not";
}
