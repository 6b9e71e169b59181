// Projects that share a backend's key: none sees what another has made there.

#include "accounts_support.hpp"

using namespace llmproxy::test;

namespace {

class Tenants : public WithAccounts {
protected:
    static void expect_unknown(const Response& reply)
    {
        EXPECT_EQ(reply.status, 404) << reply.body;
        EXPECT_EQ(error_code(reply), "not_found");
    }
    static void expect_no_route(const Response& reply)
    {
        EXPECT_EQ(reply.status, 403) << reply.body;
        EXPECT_EQ(error_code(reply), "route_not_allowed");
    }
};

}  // namespace

TEST_F(Tenants, WithASharedKeyAProjectNamesOnlyWhatItHasMade)
{
    const auto answer_with = [](const std::string& id) {
        return [id](Exchange& exchange) {
            exchange.json(R"({"id":")" + id +
                          R"(","object":"response","usage":{"input_tokens":1,)" +
                          R"("output_tokens":1,"total_tokens":2}})");
        };
    };
    const auto ask_for = [this](const StoredToken& of, const std::string& more) {
        return proxy.ask(
            post_json("/v1/responses", R"({"model":"gpt-4o","input":"x")" + more + "}", of.line()));
    };
    const auto mine = make_token(api);
    const auto other = make_token(api);
    backend.next(answer_with("resp_1"));
    ASSERT_EQ(ask_for(mine, "").status, 200);
    backend.next(answer_with("resp_2"));
    const std::string after = R"(,"previous_response_id":"resp_1")";
    EXPECT_EQ(ask_for(mine, after).status, 200);
    const auto asked = backend.request_count();
    expect_unknown(ask_for(other, after));
    const std::string unknown = R"(,"previous_response_id":"resp_9")";
    expect_unknown(ask_for(mine, unknown));
    expect_unknown(ask_for(mine, after + R"(,"tools":[{"vector_store_ids":["vs_1"]}])"));
    EXPECT_EQ(backend.request_count(), asked);
    api.make("/manage/keys",
             {{"project", mine.project}, {"backend", "b1"}, {"name", "own"}, {"key", "sk-own"}});
    backend.next(answer_with("resp_3"));
    EXPECT_EQ(ask_for(mine, unknown).status, 200) << "its own key sees only its own";
}

TEST_F(Tenants, WithASharedKeyNoProjectListsReadsOrDeletesWhatIsStored)
{
    const auto usual = make_token(api);
    const auto granted =
        make_token(api, {}, {{"routes", {"responses", "files", "batches", "vector_stores"}}});
    for (const std::string path : {"/v1/files", "/v1/files/file-1", "/v1/files/file-1/content",
                                   "/v1/batches", "/v1/batches/batch_1", "/v1/responses/resp_1",
                                   "/v1/responses/resp_1/input_items", "/v1/vector_stores"}) {
        for (const std::string method : {"GET", "DELETE", "POST"}) {
            for (const auto* const token : {&usual, &granted}) {
                expect_no_route(proxy.ask(method + " " + path + " HTTP/1.1\r\nHost: h\r\n" +
                                          token->line() + "Content-Length: 0\r\n\r\n"));
            }
        }
    }
    EXPECT_EQ(backend.request_count(), 0U);
}
