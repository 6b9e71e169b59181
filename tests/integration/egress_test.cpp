// Backends behind an egress proxy (`backends[].proxy`): CONNECT on real sockets, and each way it fails.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <array>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>

using namespace llmproxy::test;

namespace {

const std::string kKey = "sk-egress-backend-key";
const std::string kUser = "user:p%40ss:w%25rd@";          // as in the URL
const std::string kBasic = "Basic dXNlcjpwQHNzOnclcmQ=";  // of `user:p@ss:w%rd`

/// An egress proxy: a scripted server that answers CONNECT and then passes bytes on to one port.
class EgressProxy {
public:
    explicit EgressProxy(std::uint16_t target, std::shared_ptr<SSL_CTX> tls = nullptr)
        : target_(target), server_([this](Exchange& exchange) { serve(exchange); }, std::move(tls))
    {
    }

    FakeBackend& server() { return server_; }
    [[nodiscard]] std::string url(const std::string& userinfo = {},
                                  const std::string& host = {}) const
    {
        auto made = server_.url("", host);
        return made.insert(made.find("://") + 3, userinfo);
    }
    /// Everything that came from the daemon through tunnels.
    std::string carried()
    {
        const std::lock_guard lock(mutex_);
        return carried_;
    }

private:
    void serve(Exchange& exchange)
    {
        if (exchange.raw("HTTP/1.1 200 Connection established\r\nX-Proxy: fake\r\n\r\n")) {
            pass(exchange.wire());
        }
        exchange.close();
    }

    void pass(Wire& client)
    {
        auto target = Wire::connect(target_);
        for (;;) {
            std::array<pollfd, 2> items{pollfd{client.fd(), POLLIN, 0},
                                        pollfd{target.fd(), POLLIN, 0}};
            if (!client.readable()) {
                ::poll(items.data(), items.size(), -1);
            }
            std::string bytes;
            if (client.readable()) {
                if (client.read(bytes) != ReadEnd::data || !target.send(bytes)) {
                    return;
                }
                const std::lock_guard lock(mutex_);
                carried_ += bytes;
            }
            bytes.clear();
            if (target.readable() && (target.read(bytes) != ReadEnd::data || !client.send(bytes))) {
                return;
            }
        }
    }

    std::uint16_t target_;
    std::mutex mutex_;
    std::string carried_;
    FakeBackend server_;  // its threads use what is above
};

class Egress : public testing::Test {
protected:
    Egress() : plain(&answer), secure(&answer, TestCa::server(leaf)) {}

    static void answer(Exchange& exchange) { exchange.json(R"({"reached":1})"); }
    [[nodiscard]] std::string keys(const std::string& proxy) const
    {
        return "api_key: " + kKey + ", proxy: \"" + proxy + "\", tls: { ca: \"" + ca.certificate() +
               "\" }";
    }
    static std::string text(const Response& reply) { return reply.head.raw + reply.body; }

    TestCa ca;
    TestCa::Leaf leaf = ca.issue();
    FakeBackend plain;
    FakeBackend secure;
};

void expect_failure(const Response& reply, int status, const std::string& code)
{
    EXPECT_EQ(reply.status, status);
    EXPECT_EQ(error_code(reply), code);
    EXPECT_TRUE(reply.complete());
}

}  // namespace

TEST_F(Egress, TlsBackendIsReachedByConnectWithCredentials)
{
    EgressProxy egress(secure.port());
    ProxyUnderTest proxy{GatewayConfig(secure.url("/v1", "localhost"), keys(egress.url(kUser)))};
    for (int i = 0; i < 2; ++i) {
        const auto reply = proxy.ask(chat());
        EXPECT_EQ(reply.status, 200) << reply.body;
        EXPECT_EQ(reply.body, R"({"reached":1})");
    }
    const auto to = "localhost:" + std::to_string(secure.port());
    ASSERT_EQ(egress.server().request_count(), 1U) << "the tunnel is pooled";
    EXPECT_EQ(egress.server().last_request().head.raw,
              "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\nProxy-Authorization: " + kBasic +
                  "\r\n\r\n");
    EXPECT_EQ(secure.last_sni(), "localhost");
    const auto seen = secure.last_request().head;
    EXPECT_EQ(seen["authorization"], "Bearer " + kKey);
    EXPECT_EQ(seen.count("proxy-authorization"), 0U);
    EXPECT_FALSE(egress.carried().empty());
    EXPECT_FALSE(has_text(egress.carried(), kKey));
    EXPECT_FALSE(has_text(egress.carried(), "Bearer"));
}

TEST_F(Egress, PlainBackendSeesNothingOfTheProxysCredentials)
{
    EgressProxy egress(plain.port());
    ProxyUnderTest proxy{GatewayConfig(plain.url(), keys(egress.url(kUser)))};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    const auto asked = egress.server().last_request().head;
    EXPECT_EQ(asked["proxy-authorization"], kBasic);
    EXPECT_FALSE(has_text(asked.raw, kKey));
    EXPECT_EQ(plain.last_request().head.count("proxy-authorization"), 0U);
    EXPECT_EQ(plain.last_request().head["host"], "127.0.0.1:" + std::to_string(plain.port()));
}

TEST_F(Egress, CredentialsAreOptionalAndThePasswordToo)
{
    EgressProxy egress(plain.port());
    ProxyUnderTest without{GatewayConfig(plain.url(), keys(egress.url()))};
    EXPECT_EQ(without.ask(chat()).status, 200);
    EXPECT_EQ(egress.server().last_request().head.count("proxy-authorization"), 0U);
    ProxyUnderTest user_only{GatewayConfig(plain.url(), keys(egress.url("user@")))};
    EXPECT_EQ(user_only.ask(chat()).status, 200);
    // RFC 7617: base64 of `user:`.
    EXPECT_EQ(egress.server().last_request().head["proxy-authorization"], "Basic dXNlcjo=");
}

TEST_F(Egress, SchemeIsReadInAnyCase)
{
    EgressProxy egress(plain.port());
    auto url = egress.url();
    auto base = plain.url();
    ProxyUnderTest proxy{
        GatewayConfig(base.replace(0, 4, "HTTP"), keys(url.replace(0, 4, "Http")))};
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(egress.server().request_count(), 1U);
}

TEST_F(Egress, HttpsProxyIsVerifiedBeforeItHearsAnything)
{
    EgressProxy egress(plain.port(), TestCa::server(leaf));
    {
        ProxyUnderTest proxy{GatewayConfig(plain.url(), keys(egress.url(kUser, "localhost")))};
        EXPECT_EQ(proxy.ask(chat()).status, 200);
        EXPECT_EQ(egress.server().last_sni(), "localhost");
        EXPECT_EQ(egress.server().last_request().head["proxy-authorization"], kBasic);
        EXPECT_EQ(plain.request_count(), 1U);
    }
    const auto before = egress.server().request_count();
    TestCa other("other");
    ProxyUnderTest mistrusting{GatewayConfig(
        plain.url(), "api_key: " + kKey + ", proxy: \"" + egress.url(kUser, "localhost") +
                         "\", tls: { ca: \"" + other.certificate() + "\" }")};
    expect_failure(mistrusting.ask(chat()), 502, "upstream_tls_failed");
    EXPECT_EQ(egress.server().request_count(), before);
    EXPECT_EQ(plain.request_count(), 1U);
}

TEST_F(Egress, BackendInsideTheTunnelIsVerified)
{
    TestCa foreign("foreign");
    FakeBackend impostor(&answer, TestCa::server(foreign.issue()));
    FakeBackend misnamed(&answer, TestCa::server(ca.issue("DNS:elsewhere.test")));
    for (const auto* behind : {&impostor, &misnamed}) {
        EgressProxy egress(behind->port());
        ProxyUnderTest proxy{
            GatewayConfig(secure.url("/v1", "localhost"), keys(egress.url(kUser)))};
        const auto reply = proxy.ask(chat());
        expect_failure(reply, 502, "upstream_tls_failed");
        EXPECT_EQ(behind->request_count(), 0U);
        EXPECT_EQ(egress.server().request_count(), 1U);
        EXPECT_FALSE(has_text(egress.carried(), kKey));
    }
}

namespace {

struct Answer {
    std::string name;
    std::string bytes;
    std::string logged;  ///< in the access log's `error`
};

std::ostream& operator<<(std::ostream& out, const Answer& answer)
{
    return out << answer.name;
}

class EgressAnswer : public Egress, public testing::WithParamInterface<Answer> {};

std::vector<Answer> refusals()
{
    const std::string closed = "closed the connection";
    const std::string no_http = "did not answer in HTTP/1";
    return {
        {"Status407",
         "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 6\r\n\r\nsecret", "407"},
        {"Status403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"},
        {"Status502", "HTTP/1.0 502 Bad Gateway\r\n\r\n<html>secret</html>", "502"},
        {"Redirect", "HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n", "302"},
        {"OtherProtocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", no_http},
        {"Http2", "HTTP/2 200 OK\r\n\r\n", no_http},
        {"Binary", std::string("\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", 11), no_http},
        {"NoStatus", "HTTP/1.1 OK OK OK\r\n\r\n", no_http},
        {"Nothing", "", closed},
        {"HalfAHead", "HTTP/1.1 200 OK\r\nX-Half", closed},
        {"BytesBeforeTheirTime", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
         "more than a head"},
        {"EndlessHead", "HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x'), "more than a head"},
    };
}

std::string answer_name(const testing::TestParamInfo<Answer>& item)
{
    return item.param.name;
}

}  // namespace

TEST_P(EgressAnswer, IsAConnectFailure)
{
    FakeBackend refusing([&](Exchange& exchange) {
        exchange.raw(GetParam().bytes);
        exchange.close();
    });
    auto url = refusing.url("").insert(7, kUser);
    ProxyUnderTest proxy{GatewayConfig(secure.url("/v1", "localhost"), keys(url))};
    const auto reply = proxy.ask(chat());
    expect_failure(reply, 502, "upstream_connect_failed");
    EXPECT_FALSE(has_text(text(reply), "secret"));
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["outcome"], "upstream_connect_failed");
    EXPECT_TRUE(has_text(line["error"].get<std::string>(), GetParam().logged)) << line;
    EXPECT_EQ(secure.connection_count(), 0U);
    const auto asked = refusing.last_request();
    EXPECT_EQ(asked.head["proxy-authorization"], kBasic);
    EXPECT_FALSE(has_text(asked.head.raw, kKey));
}

INSTANTIATE_TEST_SUITE_P(Answer, EgressAnswer, testing::ValuesIn(refusals()), answer_name);

TEST_F(Egress, DeadAndResettingProxiesAreConnectFailures)
{
    FakeBackend resetting([](Exchange& exchange) { exchange.reset(); });
    for (const auto port : {dead_port(), resetting.port()}) {
        ProxyUnderTest proxy{
            GatewayConfig(secure.url(), keys("http://127.0.0.1:" + std::to_string(port)))};
        expect_failure(proxy.ask(chat()), 502, "upstream_connect_failed");
    }
    EXPECT_EQ(secure.connection_count(), 0U);
}

TEST_F(Egress, StallingProxyIsGivenUpAtTheConnectTimeout)
{
    FakeBackend stalling([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy{GatewayConfig(secure.url(), keys(stalling.url("")))
                             .set("timeout", "{ connect_timeout: 150ms }")};
    const auto reply = proxy.ask(chat());
    expect_failure(reply, 502, "upstream_connect_failed");
    EXPECT_TRUE(has_text(proxy.access_line(reply)["error"].get<std::string>(), "too long"));
    EXPECT_TRUE(stalling.wait_closed(0));
}

TEST_F(Egress, StallingProxyIsGivenUpAtTheTotalTimeout)
{
    FakeBackend stalling([](Exchange& exchange) { exchange.stall(); });
    ProxyUnderTest proxy{GatewayConfig(secure.url(), keys(stalling.url("")))
                             .set("timeout", "{ connect_timeout: 1h, total_timeout: 150ms }")};
    expect_failure(proxy.ask(chat()), 504, "upstream_timeout");
    EXPECT_TRUE(stalling.wait_closed(0));
}

TEST_F(Egress, AnswerMayComeByteByByte)
{
    FakeBackend slow;  // the proxy, and on the same connection the backend behind it
    ProxyUnderTest proxy{GatewayConfig(plain.url(), keys(slow.url("")))};
    slow.next([](Exchange& exchange) {
        for (const char byte : std::string("HTTP/1.1 200 OK\r\nX: y\r\n\r\n")) {
            exchange.raw(std::string(1, byte));
        }
    });
    slow.next([](Exchange& exchange) { exchange.json(R"({"by":"byte"})"); });
    EXPECT_EQ(proxy.ask(chat()).body, R"({"by":"byte"})");
}

TEST_F(Egress, TunnelCutInMidReplyIsACutReply)
{
    EgressProxy egress(secure.port());
    secure.next([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.reset();
    });
    ProxyUnderTest proxy{GatewayConfig(secure.url("/v1", "localhost"), keys(egress.url()))};
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.cut());
    EXPECT_EQ(proxy.ask(chat()).status, 200) << "a new tunnel";
    EXPECT_EQ(egress.server().request_count(), 2U);
}

TEST_F(Egress, Ipv6TargetsStandInBrackets)
{
    FakeBackend six(&answer, nullptr, "::1");
    FakeBackend asked([](Exchange& exchange) { exchange.reply(403, ""); });
    ProxyUnderTest proxy{GatewayConfig(six.url(), keys(asked.url("")))};
    EXPECT_EQ(proxy.ask(chat()).status, 502);
    EXPECT_EQ(asked.last_request().head.word(1), "[::1]:" + std::to_string(six.port()));
}
