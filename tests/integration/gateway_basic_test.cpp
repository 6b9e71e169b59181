// What the gateway makes of ordinary requests: framing, connections, bodies.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class GatewayBasic : public testing::Test {
protected:
    FakeBackend backend{[](Exchange& exchange) { exchange.json(R"({"id":"x","choices":[]})"); }};
    ProxyUnderTest proxy{GatewayConfig(backend.url("/base/v9"))};
};

}  // namespace

TEST_F(GatewayBasic, RelaysJsonUnchanged)
{
    const auto reply = proxy.ask(chat());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, R"({"id":"x","choices":[]})");
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.head["content-type"], "application/json");
    const auto seen = backend.last_request();
    EXPECT_EQ(seen.head.start_line, "POST /base/v9/chat/completions HTTP/1.1");
    EXPECT_EQ(seen.body, chat_body());
    EXPECT_EQ(seen.head["host"], "127.0.0.1:" + std::to_string(backend.port()));
}

TEST_F(GatewayBasic, KeepsQueryAndUnknownPaths)
{
    proxy.ask(get("/v1/things/a%20b?limit=2&after=%2Fx"));
    EXPECT_EQ(backend.last_request().head.word(1), "/base/v9/things/a%20b?limit=2&after=%2Fx");
}

TEST_F(GatewayBasic, RefusesPathsThatCouldEscapeTheBase)
{
    for (const auto* path : {"/v1/../x", "/v1/./x", "/v1/a/..", "/v1//x", "/v1/a%2fb", "/v1/a%2Fb",
                             "/v1/%2e%2e/x", "/v1/.%2E/x", "/v1/a%5c..%5cb"}) {
        EXPECT_EQ(proxy.ask(get(path)).status, 400) << path;
    }
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(GatewayBasic, AnswersUnknownRoutesItself)
{
    EXPECT_EQ(proxy.ask(get("/nothing")).status, 404);
    EXPECT_EQ(proxy.ask(get("/v2/chat/completions")).status, 404);
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(GatewayBasic, HeadHasNoBody)
{
    backend.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    });
    auto client = proxy.connect();
    for (int i = 0; i < 2; ++i) {
        const auto reply = client.ask("HEAD /v1/files/x HTTP/1.1\r\nHost: a\r\n\r\n");
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.head["content-length"], "1234");
        EXPECT_FALSE(client.anything(std::chrono::milliseconds(20)));
    }
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(GatewayBasic, ServesHttp10WithoutChunks)
{
    backend.always([](Exchange& exchange) {
        exchange.begin_chunked();
        exchange.piece("abc");
        exchange.piece("def");
        exchange.last();
    });
    auto client = proxy.connect();
    client.send("GET /v1/things HTTP/1.0\r\n\r\n");
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 200);
    EXPECT_FALSE(reply.chunked);
    EXPECT_EQ(reply.body, "abcdef");
    EXPECT_EQ(reply.end, BodyEnd::closed);
}

TEST_F(GatewayBasic, KeepsClientConnectionsAlive)
{
    auto client = proxy.connect();
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(client.ask(chat()).status, 200);
    }
    EXPECT_EQ(client.ask(chat("gpt-4o", false, "Connection: close\r\n")).status, 200);
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(GatewayBasic, AnswersPipelinedRequestsInOrder)
{
    backend.always(
        [](Exchange& exchange) { exchange.json("\"" + exchange.request().head.word(1) + "\""); });
    auto client = proxy.connect();
    std::string all;
    for (int i = 0; i < 8; ++i) {
        const auto path = "/v1/n" + std::to_string(i);
        all += i % 2 == 0 ? get(path) : post_json(path, "{\"i\":1}");
    }
    client.send(all);
    for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(client.response().body, "\"/base/v9/n" + std::to_string(i) + "\"");
    }
}

TEST_F(GatewayBasic, TakesRequestsInSingleBytes)
{
    auto client = proxy.connect();
    client.send_in_pieces(chat(), 1);
    EXPECT_EQ(client.response().status, 200);
    EXPECT_EQ(backend.last_request().body, chat_body());
}

TEST_F(GatewayBasic, Sends100ContinueBeforeReadingABody)
{
    auto client = proxy.connect();
    const auto body = chat_body();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                "Content-Type: application/json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n");
    const auto interim = client.interim();
    ASSERT_TRUE(interim);
    EXPECT_EQ(interim->word(1), "100");
    client.send(body);
    EXPECT_EQ(client.response().status, 200);
    EXPECT_EQ(backend.last_request().body, body);
    EXPECT_EQ(backend.last_request().head.count("expect"), 0U);
}

TEST_F(GatewayBasic, RefusesOtherExpectations)
{
    const auto reply = proxy.ask(chat("gpt-4o", false, "Expect: tea\r\n"));
    EXPECT_TRUE(reply.status == 417 || reply.status == 400) << reply.status;
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST_F(GatewayBasic, SurvivesInterimRepliesOfTheUpstream)
{
    backend.always([](Exchange& exchange) {
        exchange.raw("HTTP/1.1 100 Continue\r\n\r\n"
                     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        exchange.json("{\"final\":1}");
    });
    auto client = proxy.connect();
    for (int i = 0; i < 2; ++i) {
        const auto reply = client.ask(chat());
        EXPECT_EQ(reply.status, 200);
        EXPECT_EQ(reply.body, "{\"final\":1}");
    }
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(GatewayBasic, TakesChunkedInferenceBodies)
{
    auto client = proxy.connect();
    const auto body = chat_body();
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(as_chunk(body.substr(0, 7)) + as_chunk(body.substr(7)) + "0\r\n\r\n");
    EXPECT_EQ(client.response().status, 200);
    const auto seen = backend.last_request();
    EXPECT_EQ(seen.body, body);
    EXPECT_FALSE(seen.chunked && seen.head.count("content-length") > 0);
    EXPECT_EQ(client.ask(chat()).status, 200);
}

TEST_F(GatewayBasic, StreamsOtherBodiesPieceByPiece)
{
    Gate got_first;
    backend.leave_bodies(true);
    backend.always([&](Exchange& exchange) {
        std::string start;
        while (start.find("first") == std::string::npos && exchange.read_raw(start)) {}
        got_first.open();
        while (start.find("0\r\n\r\n") == std::string::npos && exchange.read_raw(start)) {}
        exchange.json(start.find("second") != std::string::npos ? "{\"ok\":1}" : "{}");
        exchange.close();
    });
    auto client = proxy.connect();
    client.send("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
                "Transfer-Encoding: chunked\r\n\r\n" +
                as_chunk("first"));
    ASSERT_TRUE(got_first.wait()) << "the first piece must go on before the second comes";
    client.send(as_chunk("second") + "0\r\n\r\n");
    EXPECT_EQ(client.response().body, "{\"ok\":1}");
}

TEST_F(GatewayBasic, RelaysLargeReplies)
{
    std::string big = "{\"data\":[";
    for (int i = 0; i < 200'000; ++i) {
        big += std::to_string(i) + ",";
    }
    big += "0]}";
    backend.always([big](Exchange& exchange) { exchange.json(big); });
    auto client = proxy.connect();
    for (int i = 0; i < 3; ++i) {
        const auto reply = client.ask(post_json("/v1/embeddings", R"({"model":"e","input":"x"})"));
        EXPECT_TRUE(reply.complete());
        EXPECT_TRUE(reply.body == big) << reply.body.size() << " of " << big.size();
    }
}

TEST_F(GatewayBasic, UploadsLargeBodies)
{
    const std::string big(8U << 20, 'u');
    auto client = proxy.connect();
    client.send(
        "PUT /v1/uploads/1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\n"
        "Content-Length: " +
        std::to_string(big.size()) + "\r\n\r\n" + big);
    EXPECT_EQ(client.response().status, 200);
    EXPECT_TRUE(backend.last_request().body == big);
}

TEST_F(GatewayBasic, PassesUpstreamErrorsUnchanged)
{
    for (const int status : {400, 403, 404, 409, 422, 500, 503}) {
        const std::string body =
            R"({"error":{"message":"theirs","code":"c)" + std::to_string(status) + "\"}}";
        backend.always([body, status](Exchange& exchange) { exchange.json(body, status); });
        const auto reply = proxy.ask(chat());
        EXPECT_EQ(reply.status, status);
        EXPECT_EQ(reply.body, body);
    }
}

TEST_F(GatewayBasic, RelaysStatusesWithoutBody)
{
    backend.always([](Exchange& exchange) { exchange.raw("HTTP/1.1 204 No Content\r\n\r\n"); });
    auto client = proxy.connect();
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(client.ask("DELETE /v1/files/1 HTTP/1.1\r\nHost: a\r\n\r\n").status, 204);
    }
    EXPECT_EQ(backend.connection_count(), 1U);
}

TEST_F(GatewayBasic, WritesOneAccessLine)
{
    backend.always([](Exchange& exchange) {
        exchange.json(R"({"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}})");
    });
    const auto reply = proxy.ask(chat("gpt-4o-mini"));
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["status"], 200);
    EXPECT_EQ(line["method"], "POST");
    EXPECT_EQ(line["path"], "/v1/chat/completions");
    EXPECT_EQ(line["model"], "gpt-4o-mini");
    EXPECT_EQ(line["backend"], "b1");
    EXPECT_EQ(line["outcome"], "ok");
    EXPECT_EQ(line["attempts"], 1);
    EXPECT_EQ(line["stream"], false);
    EXPECT_EQ(line["input_tokens"], 11);
    EXPECT_EQ(line["output_tokens"], 7);
    EXPECT_EQ(line["bytes_in"], chat_body("gpt-4o-mini").size());
    EXPECT_EQ(line["bytes_out"], reply.body.size());
}
