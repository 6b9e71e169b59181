// CONNECT (RFC 9110, section 9.3.6): the answers, the tunnel, and how it ends.

#include "forward_support.hpp"
#include "support/fault_gate.hpp"
#include "support/raw_origin.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

/// Reads until the connection ends, however it does.
ReadEnd read_all(Wire& wire, std::string& into)
{
    auto end = ReadEnd::data;
    while (end == ReadEnd::data) {
        end = wire.read(into);
    }
    return end;
}

class Tunnel : public testing::Test {
protected:
    RawOrigin origin{echo};
    ProxyUnderTest proxy{forward_config({origin.port()})};

    nlohmann::json line(ProxyUnderTest& of) { return of.access_line_where("route", "connect"); }
};

}  // namespace

TEST_F(Tunnel, CarriesBytesAndWritesOneRecord)
{
    auto client = proxy.connect();
    const auto reply = open_tunnel(client, origin.port());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.head.start_line, "HTTP/1.1 200 Connection Established");
    EXPECT_EQ(reply.head.count("content-length"), 0U);
    EXPECT_EQ(reply.head.count("transfer-encoding"), 0U);
    client.send("ping");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "ping"; }));
    EXPECT_EQ(proxy.metric("llmproxy_tunnels_active"), 1);
    client.wire().half_close();
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    const auto record = line(proxy);
    ASSERT_TRUE(record.is_object());
    EXPECT_EQ(record["method"], "CONNECT");
    EXPECT_EQ(record["authority"], authority(origin.port()));
    EXPECT_EQ(record["upstream"], authority(origin.port()));
    EXPECT_EQ(record["status"], 200);
    EXPECT_EQ(record["outcome"], "ok");
    EXPECT_EQ(record["bytes_in"], 4);
    EXPECT_EQ(record["bytes_out"], 4);
    EXPECT_EQ(record["tunnel"], "client_closed");
    EXPECT_FALSE(record.contains("path"));
    EXPECT_EQ(proxy.metric("llmproxy_tunnels_active"), 0);
    EXPECT_EQ(proxy.metric("llmproxy_tunnels_total{end=\"client_closed\"}"), 1);
    EXPECT_EQ(proxy.metric("llmproxy_tunnel_bytes_total{direction=\"from_client\"}"), 4);
}

TEST_F(Tunnel, SendsWhatCameInThePacketOfTheHead)
{
    auto client = proxy.connect();
    client.send(connect_request(origin.port()) + "\x16\x03\x01 hello");
    EXPECT_EQ(client.head(true).status, 200);
    EXPECT_TRUE(
        client.read_until([](std::string_view got) { return got == "\x16\x03\x01 hello"; }));
}

TEST_F(Tunnel, SharesThePortWithTheGateway)
{
    EXPECT_EQ(proxy.ask(chat("mock-gpt")).status, 200);
    auto client = proxy.connect();
    EXPECT_EQ(client.ask(get("/healthz")).status, 200);
    EXPECT_EQ(open_tunnel(client, origin.port()).status, 200) << "also on a connection in use";
    client.send("x");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "x"; }));
}

TEST_F(Tunnel, RefusesBodies)
{
    for (const std::string more :
         {"Content-Length: 5\r\n", "Content-Length: 00\r\n", "Transfer-Encoding: chunked\r\n",
          "Content-Length: 0\r\nContent-Length: 0\r\n"}) {
        auto client = proxy.connect();
        client.send(connect_request(origin.port(), more));
        EXPECT_EQ(client.response().status, 400) << more;
    }
    EXPECT_EQ(origin.connection_count(), 0U);
}

TEST_F(Tunnel, OpensForClientsThatSayThereIsNoBody)
{
    auto client = proxy.connect();
    client.send(connect_request(origin.port(), "Content-Length: 0\r\n") + "early");
    EXPECT_EQ(client.head(true).status, 200);
    client.send(" late");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "early late"; }));
}

TEST_F(Tunnel, RefusesWhatIsNoAuthority)
{
    for (const std::string target :
         {"127.0.0.1", "127.0.0.1:", ":443", "user@127.0.0.1:443", "http://127.0.0.1:443",
          "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:443/x", "/x", "[::1:443"}) {
        auto client = proxy.connect();
        client.send("CONNECT " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
        const auto reply = client.response();
        EXPECT_EQ(reply.status, 400) << target;
        EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    }
}

TEST_F(Tunnel, NeverReadsBytesBehindARefusalAsARequest)
{
    auto client = proxy.connect();
    client.send(connect_request("127.0.0.1:1") + get("/healthz"));
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 403);
    EXPECT_EQ(error_code(reply), "destination_not_allowed");
    EXPECT_TRUE(same_text(reply.head["connection"], "close"));
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), "");
}

TEST_F(Tunnel, IsRefusedWithARuleThatIsCounted)
{
    auto client = proxy.connect();
    client.send(connect_request("example.com:443"));
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 403);
    EXPECT_TRUE(has_text(reply.body, "destination_not_listed")) << reply.body;
    EXPECT_EQ(proxy.metric("llmproxy_forward_refusals_total{rule=\"destination_not_listed\"}"), 1);
    proxy.stop_now();
    proxy.wait();  // writes what the logs still hold
    EXPECT_TRUE(has_text(proxy.diagnostics(), "destination_not_listed"));
}

TEST_F(Tunnel, HalfClosesTowardsTheOrigin)
{
    RawOrigin counting([](Wire& wire) {
        std::string bytes;
        read_all(wire, bytes);
        wire.send("got " + std::to_string(bytes.size()));
        wire.half_close();
    });
    ProxyUnderTest own{forward_config({counting.port()})};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, counting.port()).status, 200);
    client.send("12345");
    client.wire().half_close();
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), "got 5");
    EXPECT_EQ(line(own)["tunnel"], "client_closed");
}

TEST_F(Tunnel, HalfClosesTowardsTheClient)
{
    Gate heard;
    RawOrigin talking([&](Wire& wire) {
        wire.send("bye");
        wire.half_close();
        std::string bytes;
        if (read_all(wire, bytes) == ReadEnd::fin && bytes == "still here") {
            heard.open();
        }
    });
    ProxyUnderTest own{forward_config({talking.port()})};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, talking.port()).status, 200);
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), "bye");
    client.send("still here");
    client.wire().half_close();
    EXPECT_TRUE(heard.wait());
    EXPECT_EQ(line(own)["tunnel"], "upstream_closed");
}

TEST_F(Tunnel, TellsAResetOfTheClient)
{
    Gate seen;
    RawOrigin watching([&](Wire& wire) {
        std::string bytes;
        if (read_all(wire, bytes) == ReadEnd::reset) {
            seen.open();
        }
    });
    ProxyUnderTest own{forward_config({watching.port()})};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, watching.port()).status, 200);
    client.wire().reset();
    EXPECT_TRUE(seen.wait()) << "the origin sees a reset too";
    EXPECT_EQ(line(own)["tunnel"], "client_reset");
    EXPECT_EQ(own.metric("llmproxy_tunnels_active"), 0);
}

TEST_F(Tunnel, TellsAResetOfTheOrigin)
{
    RawOrigin resetting([](Wire& wire) {
        std::string bytes;
        wire.read(bytes);
        wire.reset();
    });
    ProxyUnderTest own{forward_config({resetting.port()})};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, resetting.port()).status, 200);
    client.send("x");
    EXPECT_EQ(client.read_to_end(), ReadEnd::reset);
    EXPECT_EQ(line(own)["tunnel"], "upstream_reset");
}

TEST_F(Tunnel, EndsWhenNothingMoves)
{
    ProxyUnderTest own{forward_config({origin.port()}, "idle_timeout: 300ms")};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
    client.send("x");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "x"; }));
    EXPECT_EQ(client.read_to_end(), ReadEnd::reset);
    EXPECT_EQ(line(own)["tunnel"], "idle_timeout");
}

TEST_F(Tunnel, ReportsProgressWhereConfigured)
{
    ProxyUnderTest own{forward_config({origin.port()}, "progress_interval: 50ms")};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
    client.send("abc");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "abc"; }));
    const auto open = own.access_line_where("tunnel", "open");
    ASSERT_TRUE(open.is_object());
    EXPECT_EQ(open["authority"], authority(origin.port()));
    EXPECT_EQ(own.metric("llmproxy_requests_total{route=\"connect\""), -1)
        << "a line about an open tunnel is no finished request";
    client.wire().close();
    EXPECT_EQ(own.access_line_where("tunnel", "client_closed")["bytes_in"], 3);
}

TEST_F(Tunnel, GetsTheDrainTimeThenIsClosed)
{
    auto config = forward_config({origin.port()});
    ProxyUnderTest own{config.server_key("drain_timeout", "300ms")};
    auto client = own.connect();
    ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
    own.drain();
    client.send("late");
    EXPECT_TRUE(client.read_until([](std::string_view got) { return got == "late"; }));
    client.buffer().clear();
    EXPECT_EQ(client.read_to_end(), ReadEnd::reset);
    EXPECT_EQ(own.wait(), 3);
    EXPECT_TRUE(has_text(own.access_log(), "\"tunnel\":\"drained\""));
}

TEST_F(Tunnel, AnswersWithAGatewayErrorBeforeItStands)
{
    const auto dead = dead_port();
    const SilentPort silent;
    ProxyUnderTest own{
        forward_config({dead, silent.port()}).set("timeout", "{ connect_timeout: 300ms }")};
    auto first = own.connect();
    first.send(connect_request(dead));
    const auto refused = first.response();
    EXPECT_EQ(refused.status, 502);
    EXPECT_EQ(error_code(refused), "upstream_connect_failed");
    auto second = own.connect();
    second.send(connect_request(silent.port()));
    const auto late = second.response();
    EXPECT_EQ(late.status, 504);
    EXPECT_EQ(error_code(late), "upstream_timeout");
}

TEST_F(Tunnel, IsNotDialledForAClientThatHasLeft)
{
    const SilentPort silent;
    const auto config = forward_config({silent.port()}).set("timeout", "{ connect_timeout: 1h }");
    for (const std::string& request :
         {connect_request(silent.port()), connect_request(silent.port()) + "\x16\x03\x01",
          absolute("GET", silent.port(), "/")}) {
        ProxyUnderTest own{config};
        own.connect().send(request);
        const auto record = own.access_line_where("outcome", "client_gone");
        ASSERT_TRUE(record.is_object()) << request;
        EXPECT_EQ(record["status"], 499);
    }
}

TEST_F(Tunnel, NamesALoop)
{
    RawOrigin recorder([](Wire& wire) {
        std::string bytes;
        wire.read(bytes);
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(bytes.size()) +
                  "\r\n\r\n" + bytes);
    });
    ProxyUnderTest own{forward_config({recorder.port()})};
    const auto seen = own.ask(absolute("GET", recorder.port(), "/")).body;
    const auto via = parse_head(seen)["via"];
    ASSERT_TRUE(has_text(via, "llm-proxy-")) << seen;
    auto again = own.connect();
    again.send(connect_request(recorder.port(), "Via: " + via + "\r\n"));
    const auto reply = again.response();
    EXPECT_EQ(reply.status, 508);
    EXPECT_EQ(error_code(reply), "loop_detected");
}
