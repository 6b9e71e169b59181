// Public model names where the model is not in a JSON body: forms and realtime connections.

#include "support/fake_backend.hpp"
#include "support/fault_gate.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

using namespace llmproxy::test;

namespace {

constexpr auto kModels = "[{ name: fast, targets: [{ backend: b1, model: whisper-one }, "
                         "{ backend: b2, model: 'w/\u00e4 2' }] }]";

std::string part(const std::string& name, const std::string& value, const std::string& more = {})
{
    return "--xyz\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n" +
           value + "\r\n";
}

struct Form {
    static constexpr std::string_view kHead =
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\n"
        "Content-Type: multipart/form-data; boundary=xyz\r\n";
    std::string body;

    [[nodiscard]] std::string request() const
    {
        std::string text(kHead);
        text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
        return text.append(body);
    }
    [[nodiscard]] std::string chunked(std::size_t cut) const
    {
        std::string text(kHead);
        text.append("Transfer-Encoding: chunked\r\n\r\n").append(as_chunk(body.substr(0, cut)));
        return text.append(as_chunk(body.substr(cut))).append("0\r\n\r\n");
    }
};

/// A form with a file of that size, which comes before or after the model.
Form form(const std::string& model, std::size_t file, bool model_first)
{
    const auto field = part("model", model) + part("language", model);
    const auto upload = part("file", std::string(file, 'f'), "; filename=\"a.wav\"");
    return {(model_first ? field + upload : upload + field) + "--xyz--\r\n"};
}

std::string upgrade(const std::string& query)
{
    return get("/v1/realtime?" + query,
               "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
}

class PublicModel : public testing::Test {
protected:
    GatewayConfig config(const std::string& url, const std::string& models = R"(["own-*"])")
    {
        GatewayConfig made;
        made.backend("b1", url, models).backend("b2", second.url(), R"(["none"])", "priority: 1");
        made.set("models", kModels);
        return made.set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0 }");
    }

    FakeBackend first{[](Exchange& exchange) { exchange.json("{}"); }};
    FakeBackend second{[](Exchange& exchange) { exchange.json("{}"); }};
};

}  // namespace

TEST_F(PublicModel, OfAFormIsReplacedAndNothingElse)
{
    ProxyUnderTest proxy(config(first.url()));
    for (const std::size_t size : {std::size_t{10}, std::size_t{300'000}}) {
        const auto asked = form("fast", size, true);
        auto expected = asked.body;
        expected.replace(expected.find("fast"), 4, "whisper-one");
        for (const auto& request : {asked.request(), asked.chunked(100), asked.chunked(1)}) {
            EXPECT_EQ(proxy.ask(request).status, 200);
            EXPECT_EQ(first.last_request().body, expected);
        }
    }
    const auto behind = form("fast", 50'000, false);
    EXPECT_EQ(proxy.ask(behind.request()).status, 200);
    auto expected = behind.body;
    expected.replace(expected.find("fast"), 4, "whisper-one");
    EXPECT_EQ(first.last_request().body, expected);
    EXPECT_EQ(proxy.ask(form("own-1", 10, true).request()).status, 200);
    EXPECT_EQ(first.last_request().body, form("own-1", 10, true).body) << "no public name";
}

TEST_F(PublicModel, OfAFormIsThatOfTheTargetThatIsReached)
{
    ProxyUnderTest proxy(config("http://127.0.0.1:" + std::to_string(dead_port()) + "/v1"));
    const auto asked = form("fast", 200'000, true);
    const auto reply = proxy.ask(asked.request());
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.head["x-llm-proxy-attempts"], "2") << "nothing was sent to the first";
    auto expected = asked.body;
    expected.replace(expected.find("fast"), 4, "w/\u00e4 2");
    EXPECT_EQ(second.last_request().body, expected);
}

TEST_F(PublicModel, ThatComesTooLateInAFormIsRefusedWithTheReason)
{
    ProxyUnderTest proxy(config(first.url()));
    const auto late = form("fast", 100'000, false);
    const auto reply = proxy.ask(late.request());
    EXPECT_EQ(reply.status, 400);
    EXPECT_TRUE(has_text(reply.body, "first 64 KiB")) << reply.body;
    EXPECT_EQ(first.request_count() + second.request_count(), 0U);
    const Form none{part("file", "f", "; filename=\"a\"") + "--xyz--\r\n"};
    EXPECT_EQ(proxy.ask(none.request()).status, 404) << "no model and no default backend";

    auto with_default = config(first.url());
    proxy.reload(with_default.set("default_backend", "b1"));
    EXPECT_EQ(proxy.ask(late.request()).status, 200);
    EXPECT_EQ(first.last_request().body, late.body) << "as it is, to the default backend";
}

TEST_F(PublicModel, OfARealtimeConnectionIsReplacedInTheQuery)
{
    ProxyUnderTest proxy(config(first.url()));
    EXPECT_EQ(proxy.ask(upgrade("a=1&model=f%61st&b=%20")).status, 200) << "refused to upgrade";
    EXPECT_EQ(first.last_request().head.word(1), "/v1/realtime?a=1&model=whisper-one&b=%20");
    first.next([](Exchange& exchange) { exchange.json("{}", 503); });
    EXPECT_EQ(proxy.ask(upgrade("model=fast")).head["x-llm-proxy-backend"], "b2");
    EXPECT_EQ(second.last_request().head.word(1), "/v1/realtime?model=w%2F%C3%A4%202");
    EXPECT_EQ(proxy.ask(upgrade("model=own%2D1&c")).status, 200);
    EXPECT_EQ(first.last_request().head.word(1), "/v1/realtime?model=own%2D1&c") << "as it is";
}

TEST_F(PublicModel, OfARealtimeConnectionMustBeOne)
{
    ProxyUnderTest proxy(config(first.url()));
    const auto twice = proxy.ask(upgrade("model=fast&model=own-1"));
    EXPECT_EQ(twice.status, 400);
    EXPECT_TRUE(has_text(twice.body, "'model' is given more than once"));
    EXPECT_EQ(error_code(proxy.ask(upgrade("model=nobody"))), "model_not_found");
    EXPECT_EQ(proxy.ask(upgrade("modelx=fast")).status, 404) << "names none";
    EXPECT_EQ(first.request_count(), 0U);
}
