// Absolute-form requests (RFC 9112, section 3.2.2): what the origin sees, what the client gets.

#include "forward_support.hpp"
#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kToken = "canary-forward-token-0123456789";

class ForwardProxy : public testing::Test {
protected:
    FakeBackend origin{[](Exchange& exchange) { exchange.reply(200, "hello"); }};
    ProxyUnderTest proxy{forward_config({origin.port()})};

    std::string request(const std::string& method, const std::string& path,
                        const std::string& more = {}) const
    {
        return absolute(method, origin.port(), path, more);
    }
};

}  // namespace

TEST_F(ForwardProxy, SendsOriginFormWithTheHostOfTheTarget)
{
    const auto reply = proxy.ask(request("GET", "/a//b/../c?x=1&y=%2F", "X-Request-Id: fwd-1\r\n"));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "hello");
    const auto seen = origin.last_request().head;
    EXPECT_EQ(seen.start_line, "GET /a//b/../c?x=1&y=%2F HTTP/1.1");
    EXPECT_EQ(seen["host"], authority(origin.port()));
    EXPECT_EQ(seen.count("host"), 1U);
    const auto line = proxy.access_line("fwd-1");
    EXPECT_EQ(line["route"], "forward");
    EXPECT_EQ(line["authority"], authority(origin.port()));
    EXPECT_EQ(line["path"], "/a//b/../c");
    EXPECT_EQ(line["upstream"], authority(origin.port()));
    EXPECT_EQ(line["bytes_out"], 5);
}

TEST_F(ForwardProxy, StripsWhatBelongsToOneConnection)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\n"
                     "X-Hop: secret\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
                     "Proxy-Connection: keep-alive\r\nVia: 1.1 origin-side\r\nX-Keep: yes\r\n"
                     "Upgrade: h2c\r\n\r\nok");
    });
    const auto reply =
        proxy.ask(request("GET", "/",
                          "Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nTE: trailers\r\n"
                          "Keep-Alive: 1\r\nProxy-Connection: keep-alive\r\n"
                          "Proxy-Foo: 1\r\nTrailer: X\r\nUpgrade: h2c\r\nX-Other: 2\r\n"
                          "Via: 1.0 first\r\nAccept-Encoding: br\r\n"));
    const auto seen = origin.last_request().head;
    for (const auto* name : {"connection", "x-mine", "te", "keep-alive", "proxy-connection",
                             "proxy-foo", "trailer", "upgrade", "proxy-authorization"}) {
        EXPECT_EQ(seen.count(name), 0U) << name;
    }
    EXPECT_EQ(seen["x-other"], "2");
    EXPECT_EQ(seen["accept-encoding"], "br");
    EXPECT_TRUE(has_text(seen["via"], "1.0 first, 1.1 llm-proxy-")) << seen["via"];
    for (const auto* name :
         {"x-hop", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade"}) {
        EXPECT_EQ(reply.head.count(name), 0U) << name;
    }
    EXPECT_EQ(reply.head["x-keep"], "yes");
    EXPECT_EQ(reply.head.count("via"), 1U);
    EXPECT_TRUE(has_text(reply.head["via"], "1.1 origin-side, 1.1 llm-proxy-"));
    EXPECT_EQ(reply.body, "ok");
}

TEST_F(ForwardProxy, PassesTheOriginsCredentialsButNeverOurToken)
{
    auto config = forward_config({origin.port()});
    config.auth = "{ mode: token, static_tokens: [ { name: team-a, token: \"" + kToken + "\" } ] }";
    ProxyUnderTest own{config};
    EXPECT_EQ(own.ask(request("GET", "/")).status, 407);
    EXPECT_EQ(own.ask(request("GET", "/", "Authorization: Bearer " + kToken + "\r\n")).status, 407)
        << "Authorization is the origin's";
    const auto wrong = own.ask(request("GET", "/", "Proxy-Authorization: Bearer wrong\r\n"));
    EXPECT_EQ(wrong.status, 407);
    EXPECT_EQ(wrong.head.count("proxy-authenticate"), 2U);
    EXPECT_EQ(origin.request_count(), 0U);

    const auto ours = "Proxy-Authorization: Bearer " + kToken + "\r\n";
    EXPECT_EQ(own.ask(request("GET", "/", ours + "Authorization: Bearer origins-own\r\n")).status,
              200);
    EXPECT_EQ(origin.last_request().head["authorization"], "Bearer origins-own");
    EXPECT_EQ(own.ask(request("GET", "/",
                              ours + "Authorization: Bearer " + kToken +
                                  "\r\nx-api-key: " + kToken + "\r\n"))
                  .status,
              200);
    for (const auto& seen : origin.requests()) {
        EXPECT_FALSE(has_text(seen.head.raw, "canary")) << seen.head.raw;
    }
    EXPECT_EQ(own.access_line_where("status", 200)["token"], "team-a");
    auto client = own.connect();
    client.send(connect_request("127.0.0.1:1"));
    const auto denied = client.response();
    EXPECT_EQ(denied.status, 407) << "who is not known learns nothing about destinations";
    const auto metrics = own.metrics();
    own.stop_now();
    own.wait();  // writes what the logs still hold
    EXPECT_FALSE(has_text(own.access_log() + own.diagnostics() + metrics, "canary"));
}

TEST_F(ForwardProxy, CarriesEveryMethodAndBody)
{
    const std::string body(300'000, 'q');
    for (const std::string method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"}) {
        const auto reply = proxy.ask(
            request(method, "/m", "Content-Length: " + std::to_string(body.size()) + "\r\n") +
            body);
        EXPECT_EQ(reply.status, 200) << method;
        EXPECT_EQ(origin.last_request().head.word(0), method);
        EXPECT_TRUE(origin.last_request().body == body) << method;
    }
    const auto chunked = request("POST", "/m", "Transfer-Encoding: chunked\r\n") + as_chunk("one") +
                         as_chunk("two") + "0\r\nX-Trailer: t\r\n\r\n";
    EXPECT_EQ(proxy.ask(chunked).status, 200);
    EXPECT_TRUE(origin.last_request().chunked);
    EXPECT_EQ(origin.last_request().body, "onetwo");
    EXPECT_EQ(origin.last_request().head.count("x-trailer"), 0U);
}

TEST_F(ForwardProxy, AnswersHeadWithoutABody)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    });
    auto client = proxy.connect();
    client.send(request("HEAD", "/"));
    const auto reply = client.response(true);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.head["content-length"], "1234");
    client.send(request("HEAD", "/"));
    EXPECT_EQ(client.response(true).status, 200) << "the connection stays in step";
}

TEST_F(ForwardProxy, AsksAboutTheWholeOrigin)
{
    EXPECT_EQ(
        proxy.ask("OPTIONS http://" + authority(origin.port()) + " HTTP/1.1\r\nHost: x\r\n\r\n")
            .status,
        200);
    EXPECT_EQ(origin.last_request().head.start_line, "OPTIONS * HTTP/1.1");
}

TEST_F(ForwardProxy, CountsMaxForwardsDown)
{
    for (const std::string method : {"TRACE", "OPTIONS"}) {
        EXPECT_EQ(proxy.ask(request(method, "/m", "Max-Forwards: 3\r\n")).status, 200);
        EXPECT_EQ(origin.last_request().head.word(0), method);
        EXPECT_EQ(origin.last_request().head["Max-Forwards"], "2");
        EXPECT_EQ(origin.last_request().head.count("Max-Forwards"), 1U);
        EXPECT_EQ(proxy.ask(request(method, "/m", "Max-Forwards: 0001\r\n")).status, 200);
        EXPECT_EQ(origin.last_request().head["Max-Forwards"], "0");
    }
    EXPECT_EQ(proxy.ask(request("OPTIONS", "/m", "Max-Forwards: 99999999999999999999\r\n")).status,
              200);
    EXPECT_EQ(origin.last_request().head["Max-Forwards"], "18446744073709551614");
    EXPECT_EQ(proxy.ask(request("GET", "/m", "Max-Forwards: 0\r\n")).status, 200);
    EXPECT_EQ(origin.last_request().head["Max-Forwards"], "0") << "means nothing with GET";
}

TEST_F(ForwardProxy, AnswersWhatMayGoNoFurtherItself)
{
    const auto options = proxy.ask(request("OPTIONS", "/m", "Max-Forwards: 0\r\n"));
    EXPECT_EQ(options.status, 200);
    EXPECT_TRUE(has_text(options.head["Allow"], "CONNECT"));
    EXPECT_EQ(options.body, "");
    const auto sent =
        request("TRACE", "/m?x=1",
                "Max-Forwards: 0\r\nX-Asked: yes\r\nAuthorization: Bearer canary\r\n"
                "Cookie: canary\r\nProxy-Connection: canary\r\nX-Api-Key: canary\r\n");
    const auto trace = proxy.ask(sent);
    EXPECT_EQ(trace.status, 200);
    EXPECT_EQ(trace.head["Content-Type"], "message/http");
    EXPECT_TRUE(trace.body.starts_with(sent.substr(0, sent.find("\r\n") + 2))) << trace.body;
    EXPECT_TRUE(has_text(trace.body, "X-Asked: yes\r\n"));
    EXPECT_TRUE(trace.body.ends_with("\r\n\r\n"));
    EXPECT_FALSE(has_text(trace.body, "canary"));
    EXPECT_EQ(origin.request_count(), 0U);
}

TEST_F(ForwardProxy, RefusesAMaxForwardsThatIsNoNumber)
{
    for (const std::string value : {"Max-Forwards: x", "Max-Forwards: -1", "Max-Forwards: ",
                                    "Max-Forwards: 1, 2", "Max-Forwards: 1\r\nMax-Forwards: 1"}) {
        EXPECT_EQ(proxy.ask(request("TRACE", "/m", value + "\r\n")).status, 400) << value;
    }
    EXPECT_EQ(origin.request_count(), 0U);
}

TEST_F(ForwardProxy, StreamsPiecesAsTheyCome)
{
    Gate more;
    origin.always([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: {\"usage\":{}}\n\n");
        exchange.wait(more);
        exchange.piece("data: 2\n\n");
        exchange.last();
    });
    auto client = proxy.connect();
    client.send(request("GET", "/events"));
    auto reply = client.head();
    EXPECT_EQ(client.piece(reply), "data: {\"usage\":{}}\n\n");
    more.open();
    EXPECT_EQ(client.piece(reply), "data: 2\n\n");
    EXPECT_FALSE(client.piece(reply));
    EXPECT_TRUE(reply.complete()) << "no terminal event is asked for here";
}

TEST_F(ForwardProxy, DropsTrailersAndExtensionsOfReplies)
{
    origin.always([](Exchange& exchange) {
        exchange.begin_chunked(200, "Trailer: X-T\r\n");
        exchange.raw("3;ext=1\r\nabc\r\n0\r\nX-T: v\r\n\r\n");
    });
    const auto reply = proxy.ask(request("GET", "/"));
    EXPECT_EQ(reply.body, "abc");
    EXPECT_EQ(reply.trailers, "");
    EXPECT_EQ(reply.head.count("trailer"), 0U);
}

TEST_F(ForwardProxy, RelaysCloseDelimitedReplies)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.0 200 OK\r\n\r\nuntil the end");
        exchange.close();
    });
    const auto reply = proxy.ask(request("GET", "/"));
    EXPECT_EQ(reply.body, "until the end");
    EXPECT_TRUE(reply.complete());
}

TEST_F(ForwardProxy, LetsTheOriginDecideAboutExpectations)
{
    origin.leave_bodies(true);
    origin.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 100 Continue\r\n\r\n");
        exchange.read_body();
        exchange.reply(200, exchange.request().body);
    });
    auto client = proxy.connect();
    client.send(request("POST", "/", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    ASSERT_TRUE(client.interim());
    client.send("body");
    EXPECT_EQ(client.response().body, "body");
    EXPECT_EQ(origin.last_request().head["expect"], "100-continue");

    origin.next([](Exchange& exchange) { exchange.reply(417, "no"); });
    auto refused = proxy.connect();
    refused.send(request("POST", "/", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    const auto reply = refused.response();
    EXPECT_EQ(reply.status, 417);
    EXPECT_TRUE(reply.interim.empty()) << "nobody asked for the body";
    EXPECT_TRUE(same_text(reply.head["connection"], "close"));

    origin.next([](Exchange& exchange) {
        exchange.read_body();
        exchange.reply(200, exchange.request().body);
    });
    auto silent = proxy.connect();
    silent.send(request("POST", "/", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    ASSERT_TRUE(silent.interim()) << "an origin that says nothing gets the body all the same";
    silent.send("late");
    EXPECT_EQ(silent.response().body, "late");
}

TEST_F(ForwardProxy, PassesInterimResponses)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        exchange.reply(200, "x");
    });
    const auto reply = proxy.ask(request("GET", "/"));
    ASSERT_EQ(reply.interim.size(), 1U);
    EXPECT_EQ(reply.interim[0]["link"], "</a>");
    EXPECT_EQ(reply.status, 200);
}

TEST_F(ForwardProxy, TurnsAnUpgradeIntoATunnel)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\n"
                     "Connection: Upgrade\r\n\r\nhi");
        std::string bytes;
        while (exchange.read_raw(bytes) && exchange.raw(bytes)) {
            bytes.clear();
        }
    });
    auto client = proxy.connect();
    client.send(request("GET", "/",
                        "Connection: Upgrade\r\nUpgrade: echo/1\r\n"
                        "X-Request-Id: up-1\r\n"));
    const auto reply = client.head();
    ASSERT_EQ(reply.status, 101);
    EXPECT_EQ(reply.head["upgrade"], "echo/1");
    EXPECT_EQ(origin.last_request().head["upgrade"], "echo/1");
    client.send("abc");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "hiabc"; }));
    client.wire().half_close();
    EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    const auto line = proxy.access_line("up-1");
    EXPECT_EQ(line["status"], 101);
    EXPECT_EQ(line["bytes_in"], 3);
    EXPECT_EQ(line["bytes_out"], 5);
}

TEST_F(ForwardProxy, PoolsConnectionsPerOrigin)
{
    FakeBackend other{[](Exchange& exchange) { exchange.reply(200, "other"); }};
    ProxyUnderTest own{forward_config({origin.port(), other.port()})};
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(own.ask(request("GET", "/")).body, "hello");
        EXPECT_EQ(own.ask(absolute("GET", other.port(), "/")).body, "other");
    }
    EXPECT_EQ(origin.connection_count(), 1U);
    EXPECT_EQ(other.connection_count(), 1U);
    const auto post = request("POST", "/", "Content-Length: 1\r\n") + "x";
    EXPECT_EQ(own.ask(post).status, 200);
    EXPECT_EQ(origin.connection_count(), 2U) << "what may not be sent twice gets a fresh one";
}

TEST_F(ForwardProxy, ReplacesAPooledConnectionThatDies)
{
    EXPECT_EQ(proxy.ask(request("GET", "/")).status, 200);
    origin.next([](Exchange& exchange) { exchange.close(); });
    EXPECT_EQ(proxy.ask(request("GET", "/")).status, 200);
    EXPECT_EQ(origin.request_count(), 3U);
}

TEST_F(ForwardProxy, CutsWhatTheOriginCuts)
{
    origin.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        exchange.reset();
    });
    const auto reply = proxy.ask(request("GET", "/", "X-Request-Id: cut-1\r\n"));
    EXPECT_TRUE(reply.cut());
    EXPECT_EQ(proxy.access_line("cut-1")["outcome"], "upstream_reset");
}

TEST_F(ForwardProxy, RefusesWhatItMayNotReach)
{
    const auto denied = proxy.ask("GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    EXPECT_EQ(denied.status, 403);
    EXPECT_TRUE(has_text(denied.body, "destination_not_listed")) << denied.body;
    const auto secure = proxy.ask("GET https://example.com/ HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(secure.status, 400) << "https goes by CONNECT";
    const auto user =
        proxy.ask("GET http://u:p@" + authority(origin.port()) + "/ HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(user.status, 400);
    EXPECT_EQ(origin.connection_count(), 0U);
}

TEST_F(ForwardProxy, RefusesItsOwnListeners)
{
    auto config = forward_config({});
    ProxyUnderTest own{config};
    own.reload(forward_config({own.port(), own.port("ops")}));
    for (const auto port : {own.port(), own.port("ops")}) {
        const auto reply = own.ask(absolute("GET", port, "/healthz"));
        EXPECT_EQ(reply.status, 403);
        EXPECT_TRUE(has_text(reply.body, "own_listener")) << reply.body;
        auto client = own.connect();
        EXPECT_EQ(open_tunnel(client, port).status, 403);
    }
}

TEST_F(ForwardProxy, FindsALoopOfTwoListeners)
{
    // second -> hop -> main: what comes back carries our own name.
    auto config = forward_config({});
    config.listen("    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, forward] }\n"
                  "    - { name: second, address: \"127.0.0.1:0\", serve: [forward] }\n");
    ProxyUnderTest own{config};
    FaultGate hop(own.port());
    auto allowed = forward_config({hop.port()});
    allowed.listen(config.listeners);
    own.reload(allowed);
    for (const auto* path : {"/anything", "/v1/models"}) {
        const auto reply = own.ask(absolute("GET", hop.port(), path), "second");
        EXPECT_EQ(reply.status, 508) << path;
        EXPECT_EQ(error_code(reply), "loop_detected");
    }
}

TEST_F(ForwardProxy, TakesPartInAChainOfTwoDaemons)
{
    FakeBackend model{[](Exchange& exchange) { exchange.json(R"({"object":"chat.completion"})"); }};
    ProxyUnderTest second{forward_config({model.port()})};
    // The first daemon's gateway reaches its backend by CONNECT through the second.
    GatewayConfig config(model.url(),
                         "proxy: \"http://127.0.0.1:" + std::to_string(second.port()) + "\"");
    ProxyUnderTest first{config};
    EXPECT_EQ(first.ask(chat("gpt")).status, 200);
    EXPECT_EQ(second.metric("llmproxy_tunnels_active"), 1) << "pooled by the first";
    first.stop_now();
    first.wait();
    EXPECT_EQ(second.access_line_where("route", "connect")["status"], 200);
    EXPECT_EQ(model.request_count(), 1U);
}

TEST_F(ForwardProxy, IsNotServedWhereTheRoleIsMissing)
{
    EXPECT_EQ(proxy.ask(request("GET", "/"), "ops").status, 404);
    auto client = proxy.connect("ops");
    client.send(connect_request(origin.port()));
    EXPECT_EQ(client.response().status, 404);
    EXPECT_EQ(proxy.ask(get("/nothing")).status, 404);
    EXPECT_EQ(origin.connection_count(), 0U);
}
