// What two readers could frame differently is refused in absolute form as well (RFC 9112, section 11.2).

#include "forward_support.hpp"
#include "support/ambiguous_requests.hpp"
#include "support/fake_backend.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class ForwardSmuggling : public testing::Test {
protected:
    FakeBackend origin{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{forward_config({origin.port()})};
    const std::string base = "http://" + authority(origin.port());
    /// What a smuggler wants to get through.
    const std::string next = "GET " + base + "/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    void expect_refused(const NamedBytes& item)
    {
        SCOPED_TRACE(item.name);
        auto client = proxy.connect();
        client.send(item.bytes + next);
        const auto reply = client.response();
        EXPECT_EQ(reply.status, 400);
        EXPECT_EQ(error_code(reply), "bad_request");
        EXPECT_TRUE(same_text(reply.head["connection"], "close"));
        EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
        EXPECT_EQ(client.buffer(), "") << "a second answer";
    }

    void expect_nothing_smuggled()
    {
        for (const auto& seen : origin.requests()) {
            EXPECT_FALSE(has_text(seen.head.start_line, "smuggled"));
            EXPECT_FALSE(seen.whole) << "a body that ends was made of one that does not";
        }
    }
};

}  // namespace

TEST_F(ForwardSmuggling, AmbiguousHeadsReachNobody)
{
    for (const auto& item : ambiguous_heads(base)) {
        expect_refused(item);
    }
    EXPECT_EQ(origin.bytes_seen(), 0U);
}

TEST_F(ForwardSmuggling, BodiesWithBrokenChunksNeverEnd)
{
    for (const auto& item : ambiguous_bodies(base)) {
        expect_refused(item);
    }
    expect_nothing_smuggled();
}

TEST_F(ForwardSmuggling, UnreadBodiesCannotBecomeTheNextRequest)
{
    const std::vector<std::string> starts{
        "POST http://example.com/ HTTP/1.1\r\nHost: a\r\n",
        "POST https://example.com/ HTTP/1.1\r\nHost: a\r\n",
        "POST http://u@" + authority(origin.port()) + "/ HTTP/1.1\r\nHost: a\r\n",
        "POST " + base + "/ HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\nExpect: 200-maybe\r\n",
        "CONNECT " + authority(origin.port()) + " HTTP/1.1\r\nHost: a\r\n",
    };
    for (const auto& start : starts) {
        auto client = proxy.connect();
        client.send(start + "Content-Length: " + std::to_string(next.size()) + "\r\n\r\n" + next);
        EXPECT_GE(client.response().status, 400) << start;
        client.wire().half_close();
        client.read_to_end();
        EXPECT_EQ(client.buffer(), "") << start;
    }
    EXPECT_EQ(origin.request_count(), 0U);
}

TEST_F(ForwardSmuggling, TheHostFieldDecidesNothing)
{
    const auto reply = proxy.ask("GET " + base + "/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(origin.last_request().head["host"], authority(origin.port()));
}

TEST_F(ForwardSmuggling, AmbiguousRepliesAreRefused)
{
    for (const std::string head :
         {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 5, 5\r\n",
          "Transfer-Encoding: gzip\r\n", "X: a\r\n b\r\nContent-Length: 5\r\n"}) {
        origin.always([head](Exchange& exchange) {
            exchange.raw("HTTP/1.1 200 OK\r\n" + head + "\r\nhello");
            exchange.close();
        });
        const auto reply = proxy.ask("GET " + base + "/ HTTP/1.1\r\nHost: a\r\n\r\n");
        EXPECT_EQ(reply.status, 502) << head;
        EXPECT_EQ(error_code(reply), "upstream_bad_response");
    }
}
