// Requests about files, batches, stored responses and such go to the backend and key that hold them.

#include "support/fake_backend.hpp"
#include "support/proxy_under_test.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

using namespace llmproxy::test;

namespace {

std::string responses(const std::string& more = {}, const std::string& model = "m")
{
    return post_json("/v1/responses", R"({"model":")" + model + R"(","input":"x")" + more + "}");
}

std::string after(const std::string& id)
{
    return R"(,"previous_response_id":")" + id + "\"";
}

/// What a backend makes gets an id that tells the backend.
FakeBackend::Script maker(const std::string& name)
{
    auto made = std::make_shared<std::atomic<int>>(0);
    return [=](Exchange& exchange) {
        const auto path = exchange.request().head.word(1);
        const auto id = name + "-" + std::to_string(++*made);
        if (has_text(exchange.request().body, "\"stream\":true")) {
            exchange.begin_sse();
            exchange.piece("event: response.created\ndata: {\"type\":\"response.created\","
                           "\"response\":{\"id\":\"" +
                           id + "\"}}\n\n");
            exchange.piece(
                "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n");
            exchange.last();
        } else if (path == "/v1/batches/" + name + "-batch1") {
            exchange.json(R"({"output_file_id":")" + name + R"(-out1","metadata":{"id":"meta1"}})");
        } else if (has_text(path, "batches")) {
            exchange.json(R"({"id":")" + name + R"(-batch1","object":"batch"})");
        } else {
            exchange.json(R"({"object":"thing","id":")" + id + "\"}");
        }
    };
}

/// The `id` in a reply, of a stream that of its response.
std::string id_of(const Response& reply)
{
    const auto at = reply.body.find("\"id\":\"") + 6;
    return reply.body.substr(at, reply.body.find('"', at) - at);
}

class Affinity : public testing::Test {
protected:
    /// Two backends for every model, in turn; `b1` for what has no model.
    GatewayConfig config(const std::string& default_backend = "b1",
                         const std::string& first_more = {})
    {
        GatewayConfig made;
        made.backend("b1", first.url(), R"(["*"])", first_more);
        made.backend("b2", second.url(), R"(["*"])");
        made.set("default_backend", default_backend);
        return made.set("balancing", "{ policy: round_robin }");
    }
    /// The backend that answers `request`.
    static std::string who(ProxyUnderTest& proxy, const std::string& request)
    {
        const auto reply = proxy.ask(request);
        EXPECT_EQ(reply.status, 200) << reply.body;
        return reply.head["x-llm-proxy-backend"];
    }

    FakeBackend first{maker("b1")};
    FakeBackend second{maker("b2")};
};

}  // namespace

TEST_F(Affinity, FilesBatchesAndTheirOutputStayWithBackendAndKey)
{
    const std::string keys = "api_keys: [k-a, k-b, k-c]";
    ProxyUnderTest proxy(config("b1", keys));
    proxy.ask(chat("m"));  // so that the keys' turn is not at its beginning
    proxy.ask(chat("m"));
    const auto file = id_of(proxy.ask(post_json("/v1/files", "{}")));
    const auto key = first.last_request().head["Authorization"];
    EXPECT_EQ(first.last_request().head["Accept-Encoding"], "identity") << "so that it can be read";
    proxy.reload(config("b2", keys));
    EXPECT_EQ(who(proxy, get("/v1/files")), "b2");
    const auto stays = [&](const std::string& request) {
        EXPECT_EQ(who(proxy, request), "b1") << request;
        EXPECT_EQ(first.last_request().head["Authorization"], key) << request;
    };
    stays(get("/v1/files/" + file));
    stays(get("/v1/files/" + file + "/content?x=1"));
    stays(post_json("/v1/batches", R"({"endpoint":"/v1/x", "input_file_id": ")" + file + "\"}"));
    stays(get("/v1/batches/b1-batch1"));
    stays(get("/v1/files/b1-out1/content"));
    stays("DELETE /v1/files/" + file + " HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_EQ(who(proxy, get("/v1/files/" + file)), "b2") << "deleted, so unknown";
    EXPECT_EQ(who(proxy, get("/v1/files/meta1")), "b2") << "what clients write is not learnt";
}

TEST_F(Affinity, StoredResponsesAreContinuedWhereTheyAre)
{
    ProxyUnderTest proxy(config());
    for (const auto* more : {"", R"(,"stream":true)"}) {
        const auto one = id_of(proxy.ask(responses(more)));
        const auto two = id_of(proxy.ask(responses(more)));
        ASSERT_NE(one.substr(0, 2), two.substr(0, 2)) << "in turn";
        for (int i = 0; i < 3; ++i) {
            EXPECT_EQ(who(proxy, responses(after(one))), one.substr(0, 2));
            EXPECT_EQ(who(proxy, responses(after(two) + more)), two.substr(0, 2));
            EXPECT_EQ(who(proxy, get("/v1/responses/" + one)), one.substr(0, 2));
            EXPECT_EQ(who(proxy, get("/v1/responses/" + two + "/input_items")), two.substr(0, 2));
        }
    }
}

TEST_F(Affinity, ResponsesThatAreNotStoredAreNotLearnt)
{
    ProxyUnderTest proxy(config());
    const std::array<std::string, 2> made{id_of(proxy.ask(responses(R"(,"store":false)"))),
                                          id_of(proxy.ask(responses(R"(,"store": false)")))};
    for (const auto& id : made) {
        EXPECT_EQ(who(proxy, get("/v1/responses/" + id)), "b1") << "the default one";
    }
}

TEST_F(Affinity, UnknownIdsGoWhereTheyWentBefore)
{
    ProxyUnderTest proxy(config("b2"));
    proxy.ask(responses());
    EXPECT_EQ(who(proxy, get("/v1/files/file-unknown1")), "b2");
    EXPECT_EQ(who(proxy, post_json("/v1/batches", R"({"input_file_id":"file-unknown1"})")), "b2");
    const auto a = who(proxy, responses(after("resp-unknown1")));
    const auto b = who(proxy, responses(after("resp-unknown1")));
    EXPECT_NE(a, b) << "balanced";
}

TEST_F(Affinity, NeverChangesBackendOrKey)
{
    auto with_retries = config("b1", "api_keys: [k-a, k-b]");
    with_retries.set("fallback", "{ backoff_initial_delay: 1, backoff_jitter: 0, max_retries: 2, "
                                 "circuit_failure_threshold: 4 }");
    ProxyUnderTest proxy(with_retries);
    auto reply = proxy.ask(responses());
    if (reply.head["x-llm-proxy-backend"] == "b2") {
        reply = proxy.ask(responses());
    }
    const auto id = id_of(reply);
    const auto key = first.last_request().head["Authorization"];
    const auto others = second.request_count();
    for (const int status : {401, 429, 500}) {
        const auto before = first.request_count();
        first.always([=](Exchange& exchange) { exchange.json("{}", status); });
        EXPECT_EQ(proxy.ask(responses(after(id))).status, status == 401 ? 502 : status);
        const auto seen = first.requests();
        EXPECT_EQ(seen.size() - before, status == 401 ? 1U : 3U) << status;
        for (auto i = before; i < seen.size(); ++i) {
            EXPECT_EQ(seen[i].head["Authorization"], key);
        }
    }
    EXPECT_EQ(proxy.ask(get("/v1/responses/" + id)).status, 500);
    EXPECT_EQ(error_code(proxy.ask(responses(after(id)))), "circuit_open");
    EXPECT_EQ(error_code(proxy.ask(get("/v1/responses/" + id))), "circuit_open");
    EXPECT_EQ(second.request_count(), others);
}

TEST_F(Affinity, PublicModelNameMeansTheTargetOfTheBackendThatHoldsIt)
{
    auto named = config();
    named.set("models", "[{ name: pub, targets: [{ backend: b1, model: m-one }, "
                        "{ backend: b2, model: m-two }] }]");
    ProxyUnderTest proxy(named);
    const auto id = id_of(proxy.ask(responses({}, "pub")));
    auto& holder = id.starts_with("b1") ? first : second;
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(who(proxy, responses(after(id), "pub")), id.substr(0, 2));
        EXPECT_TRUE(has_text(holder.last_request().body,
                             id.starts_with("b1") ? R"("model":"m-one")" : R"("model":"m-two")"));
    }
}

TEST_F(Affinity, ModelThatTheHolderDoesNotServeIsRefusedWithTheReason)
{
    GatewayConfig split;
    split.backend("b1", first.url(), R"(["one"])").backend("b2", second.url(), R"(["two"])");
    ProxyUnderTest proxy(split);
    const auto id = id_of(proxy.ask(responses({}, "one")));
    const auto reply = proxy.ask(responses(after(id), "two"));
    EXPECT_EQ(reply.status, 404);
    EXPECT_EQ(error_code(reply), "model_not_found");
    EXPECT_TRUE(has_text(reply.body, "`two` is not available where `" + id + "` is kept"));
    EXPECT_EQ(second.request_count(), 0U);
}

TEST_F(Affinity, BodiesThatAreLookedIntoPassWhole)
{
    ProxyUnderTest proxy(config("b1"));
    const auto file = id_of(proxy.ask(post_json("/v1/files", "{}")));
    proxy.reload(config("b2"));
    const std::string rest = R"(,"metadata":{"x":")" + std::string(300'000, 'x') + "\"}}";
    const auto early = R"({"input_file_id":")" + file + "\"" + rest;
    EXPECT_EQ(who(proxy, post_json("/v1/batches", early)), "b1");
    EXPECT_EQ(first.last_request().body, early);
    const auto late =
        "{\"x\":1" + rest.substr(0, rest.size() - 1) + R"(,"input_file_id":")" + file + "\"}";
    EXPECT_EQ(who(proxy, post_json("/v1/batches", late)), "b2") << "beyond what is looked at";
    EXPECT_EQ(second.last_request().body, late);
    const auto chunked = "POST /v1/batches HTTP/1.1\r\nHost: h\r\nContent-Type: application/json; "
                         "charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n" +
                         as_chunk(early.substr(0, 20)) + as_chunk(early.substr(20)) + "0\r\n\r\n";
    EXPECT_EQ(who(proxy, chunked), "b1");
    EXPECT_EQ(first.last_request().body, early);
}

TEST_F(Affinity, ContentOfAnUploadNamesNothing)
{
    ProxyUnderTest proxy(config("b1"));
    const auto file = id_of(proxy.ask(post_json("/v1/files", "{}")));
    proxy.reload(config("b2"));
    const std::string form = "--B\r\nContent-Disposition: form-data; name=\"file\"; "
                             "filename=\"f\"\r\n\r\n{\"file_id\":\"" +
                             file + "\"}\r\n--B--\r\n";
    EXPECT_EQ(who(proxy, "POST /v1/files HTTP/1.1\r\nHost: h\r\n"
                         "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: " +
                             std::to_string(form.size()) + "\r\n\r\n" + form),
              "b2");
}

TEST_F(Affinity, OldestAreForgottenAtTheLimit)
{
    auto small = config();
    small.set("limits", "{ max_known_resources: 2 }");
    ProxyUnderTest proxy(small);
    std::vector<std::string> made;
    while (made.size() < 3) {
        auto id = id_of(proxy.ask(responses()));
        if (id.starts_with("b2")) {
            made.push_back(std::move(id));
        }
    }
    EXPECT_EQ(who(proxy, get("/v1/responses/" + made[2])), "b2");
    EXPECT_EQ(who(proxy, get("/v1/responses/" + made[0])), "b1");
}

TEST_F(Affinity, BackendOrKeyThatIsGoneLeavesTheRestAsItWas)
{
    ProxyUnderTest proxy(config("b1", "api_keys: [k-a, k-b]"));
    const auto file = id_of(proxy.ask(post_json("/v1/files", "{}")));
    proxy.reload(config("b2", "api_keys: [k-c]"));
    EXPECT_EQ(who(proxy, get("/v1/files/" + file)), "b1") << "with whatever key it has now";
    EXPECT_EQ(first.last_request().head["Authorization"], "Bearer k-c");
    GatewayConfig alone;
    alone.backend("b2", second.url()).backend("b3", second.url()).set("default_backend", "b3");
    proxy.reload(alone);
    EXPECT_EQ(who(proxy, get("/v1/files/" + file)), "b3");
}
