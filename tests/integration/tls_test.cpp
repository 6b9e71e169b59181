// TLS on both sides.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

std::string tls_listener(const TestCa::Leaf& leaf, const std::string& more = {})
{
    return "    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, health], tls: { "
           "certificate: \"" +
           leaf.certificate + "\", key: \"" + leaf.key + "\"" + more + " } }\n";
}

class Tls : public testing::Test {
protected:
    TestCa ca;
    TestCa::Leaf leaf = ca.issue();
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    FakeBackend tls_backend{[](Exchange& exchange) { exchange.json(R"({"tls":1})"); },
                            TestCa::server(leaf)};

    [[nodiscard]] std::string trusting() const
    {
        return "tls: { ca: \"" + ca.certificate() + "\" }";
    }
    [[nodiscard]] std::string by_name() const
    {
        return "https://localhost:" + std::to_string(tls_backend.port()) + "/v1";
    }
};

}  // namespace

TEST_F(Tls, AndPlainHttpOnOnePort)
{
    ProxyUnderTest proxy{
        GatewayConfig(backend.url()).listen(tls_listener(leaf, ", allow_plain: true"))};
    TestClient over_tls(proxy.port(), ca.client(), "localhost");
    ASSERT_TRUE(over_tls.tls_ok()) << over_tls.wire().tls_error();
    EXPECT_EQ(over_tls.ask(chat()).status, 200);
    EXPECT_EQ(over_tls.ask(chat()).status, 200);
    EXPECT_GE(SSL_version(over_tls.wire().ssl()), TLS1_2_VERSION);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(Tls, ListenersWithoutAllowPlainAnswerNoPlainRequest)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).listen(tls_listener(leaf))};
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.status == 0 || reply.status == 400) << reply.status;
    EXPECT_EQ(backend.bytes_seen(), 0U);
}

TEST_F(Tls, RefusesOldVersions)
{
    ProxyUnderTest proxy{GatewayConfig(backend.url()).listen(tls_listener(leaf))};
    const auto old = ca.client();
    SSL_CTX_set_security_level(old.get(), 0);
    SSL_CTX_set_max_proto_version(old.get(), TLS1_1_VERSION);
    EXPECT_FALSE(TestClient(proxy.port(), old, "localhost").tls_ok());
}

TEST_F(Tls, AsksForClientCertificates)
{
    TestCa other("other");
    const auto strange = other.issue();
    ProxyUnderTest proxy{
        GatewayConfig(backend.url())
            .listen(tls_listener(leaf, ", client_ca: \"" + ca.certificate() + "\""))};
    EXPECT_EQ(TestClient(proxy.port(), ca.client(), "localhost").ask(chat()).status, 0);
    TestClient stranger(proxy.port(), ca.client(&strange), "localhost");
    EXPECT_EQ(stranger.ask(chat()).status, 0);
    EXPECT_EQ(TestClient(proxy.port(), ca.client(&leaf), "localhost").ask(chat()).status, 200);
    EXPECT_EQ(backend.request_count(), 1U);
}

TEST_F(Tls, UpstreamIsVerifiedWithSni)
{
    ProxyUnderTest proxy{GatewayConfig(by_name(), trusting())};
    EXPECT_EQ(proxy.ask(chat()).body, R"({"tls":1})");
    EXPECT_EQ(tls_backend.last_sni(), "localhost");
    EXPECT_EQ(proxy.ask(chat()).body, R"({"tls":1})");
    EXPECT_EQ(tls_backend.connection_count(), 1U);
}

TEST_F(Tls, UpstreamByAddressIsVerifiedWithoutSni)
{
    ProxyUnderTest proxy{GatewayConfig(tls_backend.url(), trusting())};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(tls_backend.last_sni(), "");
}

TEST_F(Tls, UpstreamOfAnotherCaIsRefused)
{
    TestCa other("other");
    for (const std::string& keys :
         {std::string(), "tls: { ca: \"" + other.certificate() + "\" }"}) {
        ProxyUnderTest proxy{GatewayConfig(by_name(), keys)};
        const auto reply = proxy.ask(chat());
        EXPECT_EQ(reply.status, 502);
        EXPECT_EQ(error_code(reply), "upstream_tls_failed");
    }
    EXPECT_EQ(tls_backend.request_count(), 0U);
}

TEST_F(Tls, UpstreamWithAnotherNameIsRefused)
{
    FakeBackend named([](Exchange& exchange) { exchange.json("{}"); },
                      TestCa::server(ca.issue("DNS:elsewhere.test")));
    ProxyUnderTest proxy{
        GatewayConfig("https://localhost:" + std::to_string(named.port()) + "/v1", trusting())};
    EXPECT_EQ(error_code(proxy.ask(chat())), "upstream_tls_failed");
    EXPECT_EQ(named.request_count(), 0U);
}

TEST_F(Tls, VerificationCanBeTurnedOff)
{
    ProxyUnderTest proxy{GatewayConfig(by_name(), "tls: { insecure_skip_verify: true }")};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(Tls, UpstreamGetsOurCertificate)
{
    FakeBackend strict([](Exchange& exchange) { exchange.json("{}"); },
                       TestCa::server(leaf, ca.certificate()));
    ProxyUnderTest with{GatewayConfig(strict.url(), "tls: { ca: \"" + ca.certificate() +
                                                        "\", certificate: \"" + leaf.certificate +
                                                        "\", key: \"" + leaf.key + "\" }")};
    EXPECT_EQ(with.ask(chat()).status, 200);
    EXPECT_TRUE(strict.saw_client_certificate());
    ProxyUnderTest without{GatewayConfig(strict.url(), trusting())};
    EXPECT_EQ(without.ask(chat()).status, 502);
}

TEST_F(Tls, PlainUpstreamBehindHttpsUrlIsATlsFailure)
{
    FakeBackend plain([](Exchange& exchange) { exchange.json("{}"); });
    ProxyUnderTest proxy{
        GatewayConfig("https://127.0.0.1:" + std::to_string(plain.port()) + "/v1", trusting())
            .set("timeout", "{ connect_timeout: 300ms }")};
    EXPECT_GE(proxy.ask(chat()).status, 502);
}

TEST_F(Tls, TruncatedCloseDelimitedRepliesAreCuts)
{
    tls_backend.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"half\":");
        exchange.close_abruptly();
    });
    ProxyUnderTest proxy{GatewayConfig(by_name(), trusting())};
    const auto reply = proxy.ask(get("/v1/things"));
    EXPECT_TRUE(reply.status == 502 || reply.cut()) << reply.status;
}

TEST_F(Tls, RelaysLargeBodiesAndStreamsBothWays)
{
    const std::string big = R"({"model":"m","x":")" + std::string(3U << 20, 'b') + "\"}";
    tls_backend.always([&](Exchange& exchange) { exchange.json(exchange.request().body); });
    ProxyUnderTest proxy{GatewayConfig(by_name(), trusting()).listen(tls_listener(leaf))};
    TestClient client(proxy.port(), ca.client(), "localhost");
    for (int i = 0; i < 3; ++i) {
        const auto reply = client.ask(post_json("/v1/embeddings", big));
        EXPECT_TRUE(reply.body == big) << reply.status << " " << reply.body.size();
    }
}

TEST_F(Tls, StreamsEventsOneByOne)
{
    Gate gate;
    tls_backend.always([&](Exchange& exchange) {
        exchange.begin_sse();
        for (int i = 0; i < 5 && exchange.wait(gate); ++i) {
            exchange.piece("data: " + std::to_string(i) + "\n\n");
        }
        exchange.last();
    });
    ProxyUnderTest proxy{GatewayConfig(by_name(), trusting()).listen(tls_listener(leaf))};
    TestClient client(proxy.port(), ca.client(), "localhost");
    client.send(chat("m", true));
    auto reply = client.head();
    for (int i = 0; i < 5; ++i) {
        gate.open();
        EXPECT_EQ(client.piece(reply), "data: " + std::to_string(i) + "\n\n");
    }
    client.finish(reply);
    EXPECT_TRUE(reply.complete());
}

TEST_F(Tls, ReloadSwapsCertificates)
{
    GatewayConfig config(backend.url());
    config.listen(tls_listener(leaf));
    ProxyUnderTest proxy{config};
    TestCa next("next");
    const auto next_leaf = next.issue();
    write_file(leaf.certificate, read_file(next_leaf.certificate));
    write_file(leaf.key, read_file(next_leaf.key));
    proxy.reload(config);
    TestClient client(proxy.port(), next.client(), "localhost");
    EXPECT_TRUE(client.tls_ok()) << client.wire().tls_error();
    EXPECT_EQ(client.ask(chat()).status, 200);
}
