// Requests that two readers could frame differently: refused, the connection closed, the backend none the wiser
// (RFC 9112, sections 2.2, 5.2, 6.1, 6.3, 7.1 and 11.2).

#include "support/ambiguous_requests.hpp"
#include "support/fake_backend.hpp"
#include "support/named_bytes.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kPost = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n";
const std::string kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";
/// What a smuggler wants to get through; the backend must never see it.
const std::string kNext = "GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

class Refused : public testing::TestWithParam<NamedBytes> {};
class RefusedBody : public testing::TestWithParam<NamedBytes> {};

void expect_refused(const std::string& bytes)
{
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    auto client = proxy.connect();
    client.send(bytes + kNext);
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(error_code(reply), "bad_request");
    EXPECT_TRUE(same_text(reply.head["connection"], "close"));
    EXPECT_NE(client.read_to_end(), ReadEnd::timeout);
    EXPECT_EQ(client.buffer(), "") << "a second answer";
    EXPECT_EQ(backend.bytes_seen(), 0U);
}

}  // namespace

TEST_P(Refused, With400AndCloseAndUnseenByTheBackend)
{
    expect_refused(GetParam().bytes);
}
INSTANTIATE_TEST_SUITE_P(Head, Refused, testing::ValuesIn(ambiguous_heads("")), name_of);

TEST_P(RefusedBody, With400AndCloseAndUnseenByTheBackend)
{
    expect_refused(GetParam().bytes);
}
INSTANTIATE_TEST_SUITE_P(Body, RefusedBody, testing::ValuesIn(ambiguous_bodies("")), name_of);

namespace {

class Framing : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
};

}  // namespace

TEST_F(Framing, DropsTrailersOfRequests)
{
    auto client = proxy.connect();
    const auto body = chat_body();
    client.send(kChunked + as_chunk(body) + "0\r\nAuthorization: Bearer evil\r\nX-T: 1\r\n\r\n");
    EXPECT_EQ(client.response().status, 200);
    const auto seen = backend.last_request();
    EXPECT_EQ(seen.body, body);
    EXPECT_FALSE(has_text(seen.head.raw, "evil"));
    EXPECT_EQ(seen.head.count("x-t"), 0U);
    EXPECT_EQ(client.ask(chat()).status, 200);
}

TEST_F(Framing, BoundsTrailers)
{
    auto client = proxy.connect();
    std::string trailers;
    for (int i = 0; i < 4000; ++i) {
        trailers += "X-" + std::to_string(i) + ": vvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n";
    }
    client.send(kChunked + as_chunk(chat_body()) + "0\r\n" + trailers + "\r\n");
    const auto reply = client.response();
    EXPECT_TRUE(reply.status == 400 || reply.status == 431) << reply.status;
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(Framing, UnreadBodiesCannotBecomeTheNextRequest)
{
    // Answered without reading the body: what follows is body, not a request.
    const std::vector<std::string> starts{
        "POST /nothing HTTP/1.1\r\nHost: a\r\n",
        "POST /v1//x HTTP/1.1\r\nHost: a\r\n",
        "POST /healthz HTTP/1.1\r\nHost: a\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: a\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n",
    };
    for (const auto& start : starts) {
        auto client = proxy.connect();
        client.send(start + "Content-Length: " + std::to_string(kNext.size()) + "\r\n\r\n" + kNext);
        const auto reply = client.response();
        EXPECT_NE(reply.status, 0) << start;
        client.wire().half_close();
        client.read_to_end();
        EXPECT_EQ(client.buffer(), "") << start;
    }
    for (const auto& seen : backend.requests()) {
        EXPECT_FALSE(has_text(seen.head.start_line, "smuggled"));
    }
}

TEST_F(Framing, ExpectationsThatAreRefusedLeaveNoBodyBehind)
{
    auto client = proxy.connect();
    client.send("POST /nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " +
                std::to_string(kNext.size()) + "\r\n\r\n");
    EXPECT_EQ(client.response().status, 404);
    client.send(kNext);
    client.wire().half_close();
    client.read_to_end();
    EXPECT_EQ(client.buffer(), "");
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(Framing, EarlyAnswersOfTheUpstreamLeaveNoBodyBehind)
{
    backend.leave_bodies(true);
    backend.always([](Exchange& exchange) {
        exchange.reply(413, "{}", "Connection: close\r\n");
        exchange.close();
    });
    auto client = proxy.connect();
    client.send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                std::to_string(kNext.size()) + "\r\n\r\n");
    EXPECT_EQ(client.response().status, 413);
    client.send(kNext);
    client.wire().half_close();
    client.read_to_end();
    EXPECT_EQ(client.buffer(), "");
    for (const auto& seen : backend.requests()) {
        EXPECT_FALSE(has_text(seen.head.start_line, "smuggled"));
    }
}

TEST_F(Framing, BodiesCutByTheClientReachNobody)
{
    auto client = proxy.connect();
    client.send(kPost + "Content-Length: 100\r\n\r\n{\"model\":\"gpt\"}");
    client.wire().half_close();
    const auto reply = client.response();
    EXPECT_NE(reply.status, 200);
    EXPECT_EQ(backend.request_count(), 0U);
}
