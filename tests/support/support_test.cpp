// The tools of the integration tests, tried on each other.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/test_ca.hpp"
#include "support/test_client.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

TEST(TestSupport, RelaysAWholeReply)
{
    FakeBackend backend([](Exchange& exchange) { exchange.json(R"({"a":1})"); });
    TestClient client(backend.port());
    for (int i = 0; i < 3; ++i) {
        const auto reply = client.ask(post_json("/v1/x", "{}"));
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.body, R"({"a":1})");
        EXPECT_TRUE(reply.complete());
    }
    EXPECT_EQ(backend.connection_count(), 1U);
    EXPECT_EQ(backend.request_count(), 3U);
    EXPECT_EQ(backend.last_request().body, "{}");
}

TEST(TestSupport, SeesChunksAndGates)
{
    Gate gate;
    FakeBackend backend([&](Exchange& exchange) {
        exchange.begin_sse();
        for (const auto* piece : {"one", "two", "three"}) {
            if (!exchange.wait(gate)) {
                return;
            }
            exchange.piece(piece);
        }
        exchange.last();
    });
    FaultGate hop(backend.port(), Faults{.split = 1});
    TestClient client(hop.port());
    client.send_in_pieces(get("/"), 3);
    auto reply = client.head();
    EXPECT_TRUE(reply.chunked);
    for (const auto* piece : {"one", "two", "three"}) {
        gate.open();
        EXPECT_EQ(client.piece(reply), piece);
    }
    EXPECT_FALSE(client.piece(reply));
    EXPECT_TRUE(reply.complete());
}

TEST(TestSupport, TellsFinFromReset)
{
    FakeBackend backend;
    backend.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
        exchange.close();
    });
    EXPECT_EQ(TestClient(backend.port()).ask(get("/")).end, BodyEnd::cut_fin);
    backend.next([](Exchange& exchange) {
        exchange.begin_chunked();
        exchange.piece("abc");
        exchange.close();
    });
    EXPECT_EQ(TestClient(backend.port()).ask(get("/")).end, BodyEnd::cut_fin);
    backend.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\n\r\nabc");
        exchange.close();
    });
    EXPECT_EQ(TestClient(backend.port()).ask(get("/")).end, BodyEnd::closed);
    FaultGate hop(backend.port(), Faults{.reset_on_accept = true});
    TestClient client(hop.port());
    EXPECT_TRUE(client.wire().readable(kGuard));
    EXPECT_EQ(client.ask(get("/")).end, BodyEnd::cut_reset);
}

TEST(TestSupport, CutsAfterACount)
{
    FakeBackend backend([](Exchange& exchange) { exchange.reply(200, "0123456789"); });
    for (const bool with_reset : {false, true}) {
        FaultGate hop(backend.port(),
                      Faults{.cut_to_client_after = 50, .cut_with_reset = with_reset});
        TestClient client(hop.port());
        EXPECT_TRUE(client.ask(get("/")).cut());
    }
}

TEST(TestSupport, NoticesAClientThatLeaves)
{
    Gate started;
    FakeBackend backend([&](Exchange& exchange) {
        started.open();
        exchange.stall();
    });
    TestClient client(backend.port());
    client.send(get("/"));
    ASSERT_TRUE(started.wait());
    client.wire().reset();
    EXPECT_TRUE(backend.wait_closed(0));
}

TEST(TestSupport, SpeaksTlsBothWays)
{
    TestCa ca;
    TestCa other("other ca");
    const auto leaf = ca.issue();
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); },
                        TestCa::server(leaf, ca.certificate()));
    TestClient nobody(backend.port(), ca.client(), "localhost");
    EXPECT_EQ(nobody.ask(get("/")).status, 0);
    TestClient client(backend.port(), ca.client(&leaf), "localhost");
    EXPECT_TRUE(client.tls_ok()) << client.wire().tls_error();
    EXPECT_EQ(client.ask(get("/")).status, 200);
    EXPECT_EQ(backend.last_sni(), "localhost");
    EXPECT_TRUE(backend.saw_client_certificate());
    TestClient stranger(backend.port(), other.client(), "localhost");
    EXPECT_FALSE(stranger.tls_ok());
}

TEST(TestSupport, HasPortsThatRefuseAndPortsThatAreSilent)
{
    EXPECT_THROW(TestClient client(dead_port()), std::system_error);
    const SilentPort silent;
    EXPECT_NE(silent.port(), 0);
}
