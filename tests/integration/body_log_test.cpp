// logging.bodies: off unless switched on, inference requests only, keys and credentials never shown.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

const std::string kToken = "a-client-token-of-no-known-form";
const std::string kKey = "a-backend-key-of-no-known-form";

GatewayConfig config(const FakeBackend& backend, const std::string& path, bool enabled)
{
    GatewayConfig made(backend.url(), "api_key: " + kKey);
    made.auth = "{ mode: token, static_tokens: [ { name: t, token: " + kToken + " } ] }";
    made.logging_more = ", bodies: { enabled: " + std::string(enabled ? "true" : "false") +
                        ", max_bytes: 200, path: \"" + path + "\" }";
    return made;
}

std::string ask_all(const GatewayConfig& made, FakeBackend& backend, const std::string& path)
{
    ProxyUnderTest proxy{made};
    const auto token = "Authorization: Bearer " + kToken + "\r\n";
    const auto body = R"({"model":"gpt-4o","messages":[{"role":"user","content":"hello )" + kToken +
                      R"( sk-0123456789abcdef"}]})";
    EXPECT_EQ(proxy.ask(post_json("/v1/chat/completions", body, token)).status, 200);
    backend.next([](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece("data: {\"n\":1}\n\n");
        exchange.piece("data: [DONE]\n\n");
        exchange.last();
    });
    EXPECT_EQ(proxy.ask(chat("gpt-4o", true, token)).status, 200);
    EXPECT_EQ(proxy.ask(post_json("/v1/files", R"({"not":"logged"})", token)).status, 200);
    proxy.drain();
    proxy.wait();
    return read_file(path);
}

}  // namespace

TEST(BodyLogging, WritesWhatInferenceRequestsAndTheirRepliesSayWithoutKeys)
{
    const TempDir dir;
    const auto path = dir.file("bodies.log");
    FakeBackend backend([](Exchange& exchange) {
        exchange.json(R"({"you":")" + exchange.request().head["authorization"] + R"("})");
    });
    const auto log = ask_all(config(backend, path, true), backend, path);
    EXPECT_TRUE(has_text(log, R"(\"content\":\"hello *** ***\")")) << log;
    EXPECT_TRUE(has_text(log, R"("reply":"{\"you\":\"Bearer ***\"}")")) << log;
    EXPECT_TRUE(has_text(log, R"("reply":"data: {\"n\":1}\n\ndata: [DONE]\n\n","reply_bytes":29)"))
        << log;
    EXPECT_FALSE(has_text(log, "logged")) << log;
    for (const auto& secret : {kToken, kKey}) {
        EXPECT_FALSE(has_text(log, secret)) << log;
    }
}

TEST(BodyLogging, IsOffUnlessSwitchedOn)
{
    const TempDir dir;
    const auto path = dir.file("bodies.log");
    write_file(path, "");
    FakeBackend backend([](Exchange& exchange) { exchange.json("{}"); });
    EXPECT_EQ(ask_all(config(backend, path, false), backend, path), "");
}
