// Replies that come compressed although identity was asked for: passed on untouched, read beside the relay.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

using namespace llmproxy::test;

namespace {

const std::string kUsage = R"("usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11})";
const std::string kJson =
    R"({"id":"c","choices":[{"message":{"content":"hello hello hello"}}],)" + kUsage + "}";
const std::string kEvents = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
                            "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n"
                            "data: {\"choices\":[]," +
                            kUsage + "}\n\ndata: [DONE]\n\n";

enum class Wrapper : int { gzip = 15 + 16, zlib = 15, raw = -15 };

std::string compressed(const std::string& text, Wrapper wrapper)
{
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, static_cast<int>(wrapper), 8,
                           Z_DEFAULT_STRATEGY),
              Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string fields(const std::string& type, const std::string& coding)
{
    return "Content-Type: " + type + "\r\nContent-Encoding: " + coding + "\r\n";
}

struct Coded {
    std::string name;
    std::string coding;
    Wrapper wrapper;
};

std::ostream& operator<<(std::ostream& out, const Coded& item)
{
    return out << item.name;
}

class Compressed : public testing::Test {
protected:
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url())};

    void expect_usage(const Response& reply, bool known = true)
    {
        const auto line = proxy.access_line(reply);
        ASSERT_TRUE(line.is_object());
        EXPECT_EQ(line["outcome"], "ok");
        EXPECT_EQ(line.contains("input_tokens"), known);
        if (known) {
            EXPECT_EQ(line["input_tokens"], 5);
            EXPECT_EQ(line["output_tokens"], 6);
        }
    }
};

class CompressedBy : public Compressed, public testing::WithParamInterface<Coded> {};

const std::string kType = "application/json";
const std::string kSse = "text/event-stream";

}  // namespace

TEST_P(CompressedBy, JsonWithALength)
{
    const auto body = compressed(kJson, GetParam().wrapper);
    backend.next(
        [&](Exchange& exchange) { exchange.reply(200, body, fields(kType, GetParam().coding)); });
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == body);
    EXPECT_EQ(reply.head["content-encoding"], GetParam().coding);
    EXPECT_EQ(reply.head["content-length"], std::to_string(body.size()));
    EXPECT_EQ(backend.last_request().head["accept-encoding"], "identity");
    expect_usage(reply);
}

TEST_P(CompressedBy, JsonSplitAnywhere)
{
    const auto body = compressed(kJson, GetParam().wrapper);
    for (std::size_t at = 1; at < body.size(); at += at < 24 ? 1 : 7) {
        backend.next([&](Exchange& exchange) {
            exchange.begin_chunked(200, fields(kType, GetParam().coding));
            exchange.piece(std::string_view(body).substr(0, at));
            exchange.piece(std::string_view(body).substr(at));
            exchange.last();
        });
        const auto reply = proxy.ask(chat());
        ASSERT_TRUE(reply.complete() && reply.body == body) << at;
        expect_usage(reply);
    }
}

TEST_P(CompressedBy, StreamByteByByte)
{
    const auto body = compressed(kEvents, GetParam().wrapper);
    backend.next([&](Exchange& exchange) {
        exchange.begin_chunked(200, fields(kSse, GetParam().coding));
        for (const char byte : body) {
            exchange.piece(std::string(1, byte));
        }
        exchange.last();
    });
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == body) << "what is compressed cannot be hidden either";
    EXPECT_EQ(proxy.access_line(reply)["stream"], true);
    expect_usage(reply);
}

TEST_P(CompressedBy, StreamEndedByClose)
{
    const auto body = compressed(kEvents, GetParam().wrapper);
    backend.next([&](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\n" + fields(kSse, GetParam().coding) + "\r\n" + body);
        exchange.close();
    });
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == body);
    expect_usage(reply);
}

TEST_P(CompressedBy, CutStreamGetsNoPlainTextBehindIt)
{
    const auto body = compressed(kEvents, GetParam().wrapper);
    for (const std::size_t at : {std::size_t{1}, body.size() / 2, body.size() - 1}) {
        backend.next([&](Exchange& exchange) {
            exchange.begin_chunked(200, fields(kSse, GetParam().coding));
            exchange.piece(std::string_view(body).substr(0, at));
            exchange.close();
        });
        const auto reply = proxy.ask(chat("m", true));
        EXPECT_TRUE(reply.cut()) << at;
        EXPECT_TRUE(reply.body == body.substr(0, at)) << at;
        EXPECT_EQ(proxy.access_line(reply)["outcome"], "upstream_reset");
    }
}

TEST_P(CompressedBy, TruncatedDataInACompleteReplyIsTheUpstreamsAffair)
{
    const auto body = compressed(kJson, GetParam().wrapper).substr(0, 20);
    backend.next(
        [&](Exchange& exchange) { exchange.reply(200, body, fields(kType, GetParam().coding)); });
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == body);
    expect_usage(reply, false);
}

TEST_P(CompressedBy, WhatIsNotCompressedAtAllPassesToo)
{
    for (const auto& body : {kJson, std::string("\x1f\x8b\x08\x00garbage", 11), std::string()}) {
        backend.next([&](Exchange& exchange) {
            exchange.reply(200, body, fields(kType, GetParam().coding));
        });
        const auto reply = proxy.ask(chat());
        EXPECT_TRUE(reply.complete());
        EXPECT_TRUE(reply.body == body);
        expect_usage(reply, false);
    }
}

INSTANTIATE_TEST_SUITE_P(Coding, CompressedBy,
                         testing::Values(Coded{"Gzip", "gzip", Wrapper::gzip},
                                         Coded{"XGzipInAnyCase", "X-GZip", Wrapper::gzip},
                                         Coded{"Deflate", "deflate", Wrapper::zlib},
                                         Coded{"RawDeflate", "deflate", Wrapper::raw}),
                         [](const auto& item) { return item.param.name; });

TEST_F(Compressed, GzipMembersFollowEachOther)
{
    const auto half = kJson.size() / 2;
    const auto body = compressed(kJson.substr(0, half), Wrapper::gzip) +
                      compressed(kJson.substr(half), Wrapper::gzip);
    backend.next([&](Exchange& exchange) { exchange.reply(200, body, fields(kType, "gzip")); });
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.body == body);
    expect_usage(reply);
}

TEST_F(Compressed, BombsPassAndAreNotBlownUp)
{
    const auto body = compressed(std::string(std::size_t{64} << 20, ' ') + kJson, Wrapper::gzip);
    backend.next([&](Exchange& exchange) { exchange.reply(200, body, fields(kType, "gzip")); });
    const auto reply = proxy.ask(chat());
    EXPECT_TRUE(reply.complete());
    EXPECT_TRUE(reply.body == body);
    expect_usage(reply, false);
}

TEST_F(Compressed, UnknownCodingsPassPieceByPiece)
{
    // To a reader of events these bytes are a usage block to hide, cut in two.
    const std::string block = "data: {\"choices\":[]," + kUsage + "}\n\n";
    for (const auto* coding : {"br", "zstd", "gzip, br"}) {
        Gate gate;
        backend.next([&](Exchange& exchange) {
            exchange.begin_chunked(200, fields(kSse, coding));
            exchange.piece(std::string_view(block).substr(0, 10));
            if (exchange.wait(gate)) {
                exchange.piece(std::string_view(block).substr(10));
                exchange.last();
            }
        });
        auto client = proxy.connect();
        client.send(chat("m", true));
        auto reply = client.head();
        EXPECT_EQ(client.piece(reply), block.substr(0, 10)) << coding;
        gate.open();
        client.finish(reply);
        EXPECT_TRUE(reply.complete()) << coding;
        EXPECT_EQ(reply.body, block) << coding;
        expect_usage(reply, false);
    }
}

TEST_F(Compressed, UnknownCodingEndedByCloseIsComplete)
{
    backend.next([&](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\n" + fields(kSse, "br") + "\r\n\x0b\x02\x80hi\x03");
        exchange.close();
    });
    const auto reply = proxy.ask(chat("m", true));
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.body, "\x0b\x02\x80hi\x03");
}
