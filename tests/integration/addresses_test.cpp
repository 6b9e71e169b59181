// Backends whose name has several addresses, and IPv6 on both sides.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <boost/asio/error.hpp>
#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kName = "api.several.test";

/// A resolver that knows one name.
llmproxy::net::Lookup knows(std::vector<std::string> addresses)
{
    return [addresses = std::move(addresses)](const std::string& name) {
        llmproxy::net::LookupResult result;
        if (name != kName) {
            result.error = boost::asio::error::host_not_found;
            return result;
        }
        for (const auto& address : addresses) {
            result.addresses.push_back(boost::asio::ip::make_address(address));
        }
        return result;
    };
}

/// Nobody listens at these loopback addresses, so that connects are refused.
const std::string kRefuses = "127.0.0.77";
const std::string kRefusesToo = "127.0.0.78";

class Addresses : public testing::Test {
protected:
    static void answer(Exchange& exchange) { exchange.json(R"({"from":"good"})"); }
    FakeBackend good{&answer};
};

}  // namespace

TEST_F(Addresses, NextIsTriedWhenOneRefuses)
{
    ProxyUnderTest proxy{GatewayConfig(good.url("/v1", kName)),
                         knows({kRefuses, kRefusesToo, "127.0.0.1"})};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "1");
    EXPECT_EQ(good.last_request().head["host"], kName + ":" + std::to_string(good.port()));
    EXPECT_EQ(proxy.access_line(reply)["upstream"], kName + ":" + std::to_string(good.port()));
}

TEST_F(Addresses, BlackHoleHoldsNothingUp)
{
    const SilentPort hole("127.0.0.79", good.port());
    ProxyUnderTest proxy{
        GatewayConfig(good.url("/v1", kName)).set("timeout", "{ connect_timeout: 10m }"),
        knows({"127.0.0.79", "127.0.0.1"})};
    EXPECT_EQ(proxy.ask(chat()).body, R"({"from":"good"})");
}

TEST_F(Addresses, OtherFamilyIsTriedToo)
{
    FakeBackend six(&answer, nullptr, "::1");
    const SilentPort hole("127.0.0.1", six.port());
    ProxyUnderTest proxy{
        GatewayConfig(six.url("/v1", kName)).set("timeout", "{ connect_timeout: 10m }"),
        knows({"127.0.0.1", "::1"})};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(Addresses, AllDeadIsAConnectFailureThatNamesThem)
{
    ProxyUnderTest proxy{GatewayConfig(good.url("/v1", kName)), knows({kRefuses, kRefusesToo})};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(error_code(reply), "upstream_connect_failed");
    EXPECT_FALSE(has_text(reply.body, "127.0.0"));
    const auto error = proxy.access_line(reply)["error"].get<std::string>();
    EXPECT_TRUE(has_text(error, kRefuses)) << error;
    EXPECT_TRUE(has_text(error, kRefusesToo)) << error;
}

TEST_F(Addresses, UnknownNamesAndEmptyAnswersAreConnectFailures)
{
    ProxyUnderTest proxy{GatewayConfig(good.url("/v1", kName)), knows({})};
    ProxyUnderTest unknown{GatewayConfig(good.url("/v1", "nowhere.test")), knows({})};
    for (const auto* one : {&proxy, &unknown}) {
        const auto reply = one->ask(chat());
        EXPECT_EQ(reply.status, 502);
        EXPECT_EQ(error_code(reply), "upstream_connect_failed");
    }
    EXPECT_EQ(good.connection_count(), 0U);
}

TEST_F(Addresses, SlowLookupEndsAtTheConnectTimeoutAndHoldsUpNobodyElse)
{
    Gate gate;
    const auto lookup = [&gate](const std::string& name) {
        if (name == "slow.test") {
            gate.wait();
        }
        return knows({"127.0.0.1"})(kName);
    };
    GatewayConfig config;
    config.backend("slow", good.url("/v1", "slow.test"), R"(["slow"])");
    config.backend("quick", good.url("/v1", "quick.test"), R"(["*"])");
    config.set("timeout", "{ connect_timeout: 200ms }");
    ProxyUnderTest proxy{config, lookup};
    auto waiting = proxy.connect();
    waiting.send(chat("slow"));
    EXPECT_EQ(proxy.ask(chat("other")).status, 200);
    const auto reply = waiting.response();
    EXPECT_EQ(reply.status, 502);
    EXPECT_EQ(error_code(reply), "upstream_connect_failed");
    gate.open(2);
}

TEST_F(Addresses, TlsNameIsVerifiedWhicheverAddressAnswers)
{
    TestCa ca;
    FakeBackend secure(&answer, TestCa::server(ca.issue("DNS:" + kName)));
    ProxyUnderTest proxy{
        GatewayConfig(secure.url("/v1", kName), "tls: { ca: \"" + ca.certificate() + "\" }"),
        knows({kRefuses, "127.0.0.1"})};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(secure.last_sni(), kName);
    FakeBackend other(&answer, TestCa::server(ca.issue("IP:127.0.0.1")));
    ProxyUnderTest wrong{
        GatewayConfig(other.url("/v1", kName), "tls: { ca: \"" + ca.certificate() + "\" }"),
        knows({kRefuses, "127.0.0.1"})};
    EXPECT_EQ(error_code(wrong.ask(chat())), "upstream_tls_failed");
}

TEST(Ipv6, BackendsByLiteral)
{
    FakeBackend six([](Exchange& exchange) { exchange.json("{}"); }, nullptr, "::1");
    ProxyUnderTest proxy{GatewayConfig(six.url())};
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 200);
    const auto authority = "[::1]:" + std::to_string(six.port());
    EXPECT_EQ(six.last_request().head["host"], authority);
    EXPECT_EQ(proxy.access_line(reply)["upstream"], authority);
}

TEST(Ipv6, TlsBackendsByLiteralAreVerified)
{
    TestCa ca;
    FakeBackend right([](Exchange& exchange) { exchange.json("{}"); },
                      TestCa::server(ca.issue("IP:::1")), "::1");
    FakeBackend wrong([](Exchange& exchange) { exchange.json("{}"); },
                      TestCa::server(ca.issue("IP:127.0.0.1")), "::1");
    const auto keys = "tls: { ca: \"" + ca.certificate() + "\" }";
    ProxyUnderTest proxy{GatewayConfig(right.url(), keys)};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(right.last_sni(), "");
    ProxyUnderTest refusing{GatewayConfig(wrong.url(), keys)};
    EXPECT_EQ(error_code(refusing.ask(chat())), "upstream_tls_failed");
    EXPECT_EQ(wrong.request_count(), 0U);
}

TEST(Ipv6, ListenersNameTheirClients)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    for (const auto* address : {"[::1]:0", "[::]:0"}) {
        GatewayConfig config(backend.url());
        config.auth = "{ mode: open, allow_open: true }";
        config.listen("    - { name: main, address: \"" + std::string(address) +
                      "\", serve: [gateway] }\n");
        ProxyUnderTest proxy{config};
        TestClient client(proxy.port(), true);
        const auto reply = client.ask(chat());
        ASSERT_EQ(reply.status, 200);
        EXPECT_EQ(proxy.access_line(reply)["client"], "::1");
    }
}
