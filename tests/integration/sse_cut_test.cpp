// A stream that upstream cut never looks complete to the client.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

std::vector<std::string> script()
{
    std::vector<std::string> events{": hello\n\n"};
    for (int i = 0; events.size() < 24; ++i) {
        const std::string end = i % 3 == 0 ? "\r\n" : i % 3 == 1 ? "\n" : "\r";
        events.push_back("data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"w\xc3\xb6rd " +
                         std::to_string(i) + "\"}}]}" + end + end);
    }
    events.emplace_back("data: [DONE]\n\n");
    return events;
}

std::string joined(const std::vector<std::string>& events)
{
    std::string all;
    for (const auto& event : events) {
        all += event;
    }
    return all;
}

std::string stream_request()
{
    return post_json(
        "/v1/chat/completions",
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]})");
}

class SseCut : public testing::Test {
protected:
    const std::string all = joined(script());
    FakeBackend backend;
    ProxyUnderTest proxy{GatewayConfig(backend.url())};

    /// Checks what a client got of a stream of which upstream sent `sent` bytes of events.
    void expect_visibly_cut(const Response& reply, std::size_t cut)
    {
        if (reply.status == 502) {
            ASSERT_EQ(reply.body.find("[DONE]"), std::string::npos) << cut;
            return;
        }
        ASSERT_TRUE(reply.cut()) << "cut at " << cut << ": end " << static_cast<int>(reply.end);
        const auto error_at = reply.body.find("data: {\"error\"");
        const auto events = reply.body.substr(0, error_at);
        ASSERT_TRUE(all.starts_with(events)) << cut;
        if (error_at != std::string::npos) {
            const auto last = events.empty() ? '\n' : events.back();
            ASSERT_TRUE(last == '\n' || last == '\r')
                << "an error event inside an event, cut " << cut;
            ASSERT_TRUE(reply.body.ends_with("\n\n"));
            const auto json = reply.body.substr(error_at + 6);
            ASSERT_FALSE(nlohmann::json::parse(json, nullptr, false).is_discarded()) << json;
            ASSERT_EQ(json.find("[DONE]"), std::string::npos);
        }
    }
};

}  // namespace

TEST_F(SseCut, AtEveryByteOfAChunkedStream)
{
    std::string wire;
    for (const auto& event : script()) {
        wire += as_chunk(event);
    }
    wire += "0\r\n\r\n";
    ASSERT_GT(wire.size(), 1500U);
    for (std::size_t cut = 0; cut < wire.size(); ++cut) {
        backend.next([sent = wire.substr(0, cut)](Exchange& exchange) {
            exchange.begin_sse();
            exchange.raw(sent);
            exchange.close();
        });
        const auto reply = proxy.ask(stream_request());
        expect_visibly_cut(reply, cut);
        if (HasFatalFailure()) {
            return;
        }
    }
}

TEST_F(SseCut, AtEveryByteOfACloseDelimitedStream)
{
    for (std::size_t cut = 0; cut < all.size() - 2; ++cut) {
        backend.next([this, cut](Exchange& exchange) {
            exchange.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            exchange.raw(std::string_view(all).substr(0, cut));
            exchange.close();
        });
        const auto reply = proxy.ask(stream_request());
        expect_visibly_cut(reply, cut);
        if (HasFatalFailure()) {
            return;
        }
    }
}

TEST_F(SseCut, CloseDelimitedStreamWithItsTerminalEventIsComplete)
{
    backend.next([this](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + all);
        exchange.close();
    });
    const auto reply = proxy.ask(stream_request());
    EXPECT_EQ(reply.body, all);
    EXPECT_TRUE(reply.complete() || reply.end == BodyEnd::closed) << static_cast<int>(reply.end);
}

TEST_F(SseCut, ByResetIsTold)
{
    Gate seen;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.wait(seen);
        exchange.reset();
    });
    auto client = proxy.connect();
    client.send(stream_request());
    auto reply = client.head();
    EXPECT_EQ(client.piece(reply), "data: 1\n\n");
    seen.open();
    const auto error = client.piece(reply);
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->starts_with("data: {\"error\":{")) << *error;
    EXPECT_FALSE(client.piece(reply));
    EXPECT_TRUE(reply.cut());
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["outcome"], "upstream_reset");
}

TEST_F(SseCut, ResponsesApiHasItsOwnErrorEvent)
{
    Gate seen;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("event: response.created\ndata: {\"type\":\"response.created\"}\n\n");
        exchange.wait(seen);
        exchange.close();
    });
    auto client = proxy.connect();
    client.send(post_json("/v1/responses", R"({"model":"m","stream":true,"input":"x"})"));
    auto reply = client.head();
    EXPECT_TRUE(client.piece(reply));
    seen.open();
    const auto error = client.piece(reply);
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->starts_with("event: error\ndata: {")) << *error;
    const auto json =
        nlohmann::json::parse(error->substr(error->find("data: ") + 6), nullptr, false);
    ASSERT_TRUE(json.is_object()) << *error;
    EXPECT_EQ(json["type"], "error");
    EXPECT_TRUE(json.contains("code"));
    EXPECT_TRUE(json.contains("message"));
    client.finish(reply);
    EXPECT_TRUE(reply.cut());
}

TEST_F(SseCut, InsideAnEventIsJustAClose)
{
    Gate seen;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\ndata: {\"half");
        exchange.wait(seen);
        exchange.close();
    });
    auto client = proxy.connect();
    client.send(stream_request());
    auto reply = client.head();
    EXPECT_EQ(client.piece(reply), "data: 1\n\ndata: {\"half");
    seen.open();
    EXPECT_FALSE(client.piece(reply));
    EXPECT_TRUE(reply.cut());
}

TEST_F(SseCut, EndsHttp10ClientsByReset)
{
    Gate seen;
    backend.next([&](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: 1\n\n");
        exchange.wait(seen);
        exchange.close();
    });
    auto client = proxy.connect();
    const auto body = chat_body("m", true);
    client.send("POST /v1/chat/completions HTTP/1.0\r\nHost: a\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    auto reply = client.head();
    EXPECT_TRUE(client.piece(reply));
    seen.open();
    client.finish(reply);
    EXPECT_EQ(reply.end, BodyEnd::cut_reset);
}

TEST_F(SseCut, TlsUpstreamThatEndsWithoutCloseNotify)
{
    TestCa ca;
    FakeBackend tls_backend(
        [this](Exchange& exchange) {
            exchange.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            exchange.raw(std::string_view(all).substr(0, 200));
            exchange.close_abruptly();
        },
        TestCa::server(ca.issue()));
    ProxyUnderTest over_tls{
        GatewayConfig(tls_backend.url(), "tls: { ca: \"" + ca.certificate() + "\" }")};
    expect_visibly_cut(over_tls.ask(stream_request()), 200);
}
