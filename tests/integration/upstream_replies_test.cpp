// Replies that are not what they say: never passed on as complete (RFC 9112, sections 6.3 and 8).

#include "support/fake_backend.hpp"
#include "support/named_bytes.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kOk = "HTTP/1.1 200 OK\r\n";

/// Wrong in the head: nothing of it may reach the client.
std::vector<NamedBytes> bad_heads()
{
    return {
        {"LengthAndChunked",
         kOk + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"LengthsDiffer", kOk + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
        {"LengthList", kOk + "Content-Length: 5, 6\r\n\r\nhello"},
        {"LengthNotANumber", kOk + "Content-Length: five\r\n\r\nhello"},
        {"TeGzip", kOk + "Transfer-Encoding: gzip\r\n\r\nhello"},
        {"TeXchunked", kOk + "Transfer-Encoding: xchunked\r\n\r\nhello"},
        {"TeTwice",
         kOk + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"Fold", kOk + "X: 1\r\n Content-Length: 5\r\n\r\nhello"},
        {"NotHttp", "220 mail.example.com ESMTP\r\n\r\n"},
        {"Garbage", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 12)},
        {"NoSpaceAfterStatus", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"},
        {"StatusOutOfRange", "HTTP/1.1 999999 X\r\nContent-Length: 0\r\n\r\n"},
        {"HeadCut", kOk + "Content-Len"},
        {"Nothing", ""},
        {"HugeHead", kOk + "X: " + std::string(200'000, 'x') + "\r\nContent-Length: 0\r\n\r\n"},
        {"UnwantedUpgrade",
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"},
    };
}

/// Wrong in the body: 502, or a reply that is visibly cut.
std::vector<NamedBytes> bad_bodies()
{
    const auto chunked = kOk + "Transfer-Encoding: chunked\r\n\r\n";
    return {
        {"LengthTruncated", kOk + "Content-Length: 10\r\n\r\nhello"},
        {"ChunksTruncated", chunked + "5\r\nhello\r\n"},
        {"ChunkTruncated", chunked + "a\r\nhello"},
        {"LastChunkTruncated", chunked + "5\r\nhello\r\n0\r\n"},
        {"ChunkSizeBroken", chunked + "5\r\nhello\r\nzz\r\n"},
        {"ChunkLongerThanSaid", chunked + "3\r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizeOverflow", chunked + "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
    };
}

class BadHead : public testing::TestWithParam<NamedBytes> {};
class BadBody : public testing::TestWithParam<NamedBytes> {};

}  // namespace

TEST_P(BadHead, Becomes502)
{
    FakeBackend backend([](Exchange& exchange) {
        exchange.raw(GetParam().bytes);
        exchange.close();
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    auto client = proxy.connect();
    const auto reply = client.ask(chat());
    EXPECT_EQ(reply.status, 502);
    EXPECT_TRUE(reply.complete());
    const auto code = error_code(reply);
    EXPECT_TRUE(code == "upstream_bad_response" || code == "upstream_reset") << code;
    backend.always([](Exchange& exchange) { exchange.json("{\"fine\":1}"); });
    EXPECT_EQ(client.ask(chat()).body, "{\"fine\":1}") << "the client's connection stays usable";
    EXPECT_EQ(backend.connection_count(), 2U) << "and the upstream's does not";
}
INSTANTIATE_TEST_SUITE_P(Upstream, BadHead, testing::ValuesIn(bad_heads()), name_of);

TEST_P(BadBody, NeverLooksComplete)
{
    FakeBackend backend([](Exchange& exchange) {
        exchange.raw(GetParam().bytes);
        exchange.close();
    });
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.status == 502 || reply.cut())
        << reply.status << " end " << static_cast<int>(reply.end) << " " << reply.body;
    backend.always([](Exchange& exchange) { exchange.json("{}"); });
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    EXPECT_EQ(backend.connection_count(), 2U);
}
INSTANTIATE_TEST_SUITE_P(Upstream, BadBody, testing::ValuesIn(bad_bodies()), name_of);

namespace {

class UpstreamReplies : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{GatewayConfig(backend.url())};
};

}  // namespace

TEST_F(UpstreamReplies, BytesBehindAReplyAreNobodysReply)
{
    backend.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
                     "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    });
    auto client = proxy.connect();
    EXPECT_EQ(client.ask(chat()).body, "{}");
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(client.ask(chat()).body, "{}");
    }
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamReplies, BytesAfterAnIdleMomentAreNobodysReply)
{
    Gate sent;
    Gate send;
    backend.next([&](Exchange& exchange) {
        exchange.json("{}");
        exchange.wait(send);
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        sent.open();
    });
    auto client = proxy.connect();
    EXPECT_EQ(client.ask(chat()).body, "{}");
    send.open();
    ASSERT_TRUE(sent.wait());
    EXPECT_EQ(client.ask(chat()).body, "{}");
    EXPECT_EQ(backend.connection_count(), 2U);
}

TEST_F(UpstreamReplies, ChunkExtensionsAndTrailersAreDropped)
{
    backend.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                     "2;name=value\r\n{}\r\n0\r\nX-T: 1\r\nContent-Length: 7\r\n\r\n");
    });
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.body, "{}");
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.trailers, "");
}

TEST_F(UpstreamReplies, CloseDelimitedOnesAreRelayed)
{
    backend.next([](Exchange& exchange) {
        exchange.raw(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"until\":\"close\"}");
        exchange.close();
    });
    const auto reply = proxy.ask(get("/v1/things"));
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "{\"until\":\"close\"}");
    EXPECT_TRUE(reply.complete() || reply.end == BodyEnd::closed);
}

TEST_F(UpstreamReplies, ResetInsideACloseDelimitedOneIsACut)
{
    Gate seen;
    backend.next([&](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"until\":");
        exchange.wait(seen);
        exchange.reset();
    });
    auto client = proxy.connect();
    client.send(get("/v1/things"));
    auto reply = client.head();
    EXPECT_EQ(client.piece(reply), "{\"until\":");
    seen.open();
    client.finish(reply);
    EXPECT_TRUE(reply.cut()) << static_cast<int>(reply.end);
}

TEST_F(UpstreamReplies, LargeOnesBreakNoLimit)
{
    const std::string piece(1U << 20, 'p');
    backend.next([piece](Exchange& exchange) {
        exchange.begin_chunked();
        for (int i = 0; i < 20; ++i) {
            exchange.piece(piece);
        }
        exchange.last();
    });
    const auto reply = proxy.ask(get("/v1/things"));
    EXPECT_EQ(reply.body.size(), 20U << 20);
    EXPECT_TRUE(reply.complete());
}

TEST_F(UpstreamReplies, AccessLogTellsOfCuts)
{
    backend.next([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" +
                     std::string(40'000, 'x'));
        exchange.close();
    });
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.status == 502 || reply.cut());
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_NE(line["outcome"], "ok");
}
