// Which backend a request goes to, and what is refused before any.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <algorithm>
#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

class Routing : public testing::Test {
protected:
    FakeBackend a{[](Exchange& exchange) { exchange.json(R"({"from":"a"})"); }};
    FakeBackend b{[](Exchange& exchange) { exchange.json(R"({"from":"b"})"); }};
    ProxyUnderTest proxy{config()};

    [[nodiscard]] GatewayConfig config() const
    {
        GatewayConfig made;
        made.backend("a", a.url(), R"(["gpt-*", "o1"])")
            .backend("b", b.url(), R"(["claude*", "text-*"])");
        made.set("default_backend", "b");
        made.set("limits", "{ max_body_bytes: 64KiB, max_upload_bytes: 256KiB }");
        return made;
    }
};

std::string multipart(const std::string& model_part, std::size_t file_size, bool model_first)
{
    const std::string model =
        "--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" + model_part + "\r\n";
    const std::string file =
        "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n"
        "Content-Type: audio/wav\r\n\r\n" +
        std::string(file_size, 'w') + "\r\n";
    const auto body = (model_first ? model + file : file + model) + "--xyz--\r\n";
    return "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\n"
           "Content-Type: multipart/form-data; boundary=xyz\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace

TEST_F(Routing, FollowsModelPatterns)
{
    EXPECT_EQ(proxy.ask(chat("gpt-4o")).body, R"({"from":"a"})");
    EXPECT_EQ(proxy.ask(chat("o1")).body, R"({"from":"a"})");
    EXPECT_EQ(proxy.ask(chat("claude-x")).body, R"({"from":"b"})");
    EXPECT_EQ(proxy.ask(post_json("/v1/embeddings", R"({"input":"x","model":"text-e"})")).body,
              R"({"from":"b"})");
}

TEST_F(Routing, ReadsEscapedModelNames)
{
    EXPECT_EQ(proxy.ask(chat("\\u0067pt-4o")).body, R"({"from":"a"})");
}

TEST_F(Routing, UnknownModelsAre404)
{
    for (const auto* model : {"o1-mini", "GPT-4", "xgpt-4", "claud"}) {
        const auto reply = proxy.ask(chat(model));
        EXPECT_EQ(reply.status, 404) << model;
        EXPECT_EQ(error_code(reply), "model_not_found");
    }
    EXPECT_EQ(a.request_count() + b.request_count(), 0U);
}

TEST_F(Routing, RoutesWithoutAModelGoToTheDefaultBackend)
{
    EXPECT_EQ(proxy.ask(get("/v1/files")).body, R"({"from":"b"})");
    EXPECT_EQ(proxy.ask("DELETE /v1/files/x HTTP/1.1\r\nHost: a\r\n\r\n").body, R"({"from":"b"})");
}

TEST_F(Routing, MultipartFormsRouteByTheirModelField)
{
    EXPECT_EQ(proxy.ask(multipart("gpt-audio", 1000, true)).body, R"({"from":"a"})");
    EXPECT_EQ(proxy.ask(multipart("gpt-audio", 10'000, false)).body, R"({"from":"a"})");
    const auto late = multipart("gpt-audio", 100'000, false);
    EXPECT_EQ(proxy.ask(late).body, R"({"from":"b"})")
        << "a model field after 64 KiB is not waited for";
    EXPECT_EQ(b.last_request().body, late.substr(late.find("\r\n\r\n") + 4));
}

TEST_F(Routing, EncodedInferenceBodiesAre415)
{
    const auto reply = proxy.ask(chat("gpt-4o", false, "Content-Encoding: gzip\r\n"));
    EXPECT_EQ(reply.status, 415);
    EXPECT_EQ(error_code(reply), "unsupported_encoding");
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, "Content-Encoding: identity\r\n")).status, 200);
}

TEST_F(Routing, BodiesOverTheLimitAre413)
{
    const auto big = R"({"model":"gpt-4o","x":")" + std::string(70'000, 'x') + "\"}";
    const auto reply = proxy.ask(post_json("/v1/chat/completions", big));
    EXPECT_EQ(reply.status, 413);
    EXPECT_EQ(error_code(reply), "request_too_large");
    auto client = proxy.connect();
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
        as_chunk(big) + "0\r\n\r\n");
    EXPECT_EQ(client.response().status, 413);
    EXPECT_EQ(a.bytes_seen(), 0U);
    EXPECT_EQ(
        proxy.ask("POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").status,
        413);
    EXPECT_EQ(b.bytes_seen(), 0U);
}

TEST_F(Routing, BodiesOverTheLimitAreRefusedBefore100Continue)
{
    auto client = proxy.connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                "Content-Length: 70000\r\n\r\n");
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 413);
    EXPECT_TRUE(reply.interim.empty());
}

TEST_F(Routing, DuplicateKeysThatMatterAre400)
{
    for (const auto* body : {
             R"({"model":"gpt-4o","model":"claude-x"})",
             R"({"model":"gpt-4o","stream":true,"stream":false})",
             R"({"model":"gpt-4o","stream_options":{},"stream_options":{}})",
             R"({"model":"gpt-4o","max_tokens":1,"max_tokens":2})",
             R"({"model":"gpt-4o","max_completion_tokens":1,"max_completion_tokens":2})",
             R"({"model":"gpt-4o","max_output_tokens":1,"max_output_tokens":2})",
             R"({"model":"gpt-4o","m\u006fdel":"claude-x"})",
         }) {
        const auto reply = proxy.ask(post_json("/v1/chat/completions", body));
        EXPECT_EQ(reply.status, 400) << body;
    }
    EXPECT_EQ(proxy
                  .ask(post_json("/v1/chat/completions",
                                 R"({"model":"gpt-4o","x":1,"x":2,"y":{"model":"z","model":"z"}})"))
                  .status,
              200);
    EXPECT_EQ(a.request_count(), 1U);
}

TEST_F(Routing, StructurallyInvalidJsonIs400)
{
    for (const auto* body :
         {"", "null", "[]", "{", R"({"model":"gpt-4o")", R"({"model":"gpt-4o"}})",
          R"({"model":"gpt-4o"} x)", R"({"model":5})", R"({"messages":["model":1]})"}) {
        const auto reply = proxy.ask(post_json("/v1/chat/completions", body));
        EXPECT_EQ(reply.status, 400) << body;
    }
    EXPECT_EQ(a.request_count() + b.request_count(), 0U);
}

TEST_F(Routing, ModelsListIsTheUnion)
{
    a.always([](Exchange& exchange) {
        exchange.json(R"({"object":"list","data":[{"id":"gpt-4o","object":"model"},)"
                      R"({"id":"whisper","object":"model"}]})");
    });
    b.always([](Exchange& exchange) {
        exchange.json(R"({"object":"list","data":[{"id":"claude-x","object":"model"}]})");
    });
    const auto reply = proxy.ask(get("/v1/models"));
    EXPECT_EQ(reply.status, 200);
    const auto list = nlohmann::json::parse(reply.body);
    EXPECT_EQ(list["object"], "list");
    std::vector<std::string> ids;
    for (const auto& item : list["data"]) {
        ids.push_back(item["id"]);
    }
    EXPECT_NE(std::find(ids.begin(), ids.end(), "gpt-4o"), ids.end());
    EXPECT_NE(std::find(ids.begin(), ids.end(), "claude-x"), ids.end());
    EXPECT_EQ(std::find(ids.begin(), ids.end(), "whisper"), ids.end()) << "not routable";
    EXPECT_EQ(nlohmann::json::parse(proxy.ask(get("/v1/models/gpt-4o")).body)["id"], "gpt-4o");
    EXPECT_EQ(proxy.ask(get("/v1/models/whisper")).status, 404);
    EXPECT_EQ(a.request_count(), 1U) << "cached";
}
