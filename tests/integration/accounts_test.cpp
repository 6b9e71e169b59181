// Tokens of the store as clients meet them: what they may do, what is written down, and what revoking them ends.

#include "accounts_support.hpp"

#include <filesystem>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

/// What revoking a token may take to end what it has open.
constexpr std::chrono::seconds kAtOnce{1};

class Accounts : public WithAccounts {
protected:
    json only_row(const StoredToken& token)
    {
        const auto rows = usage_of(api, token);
        EXPECT_EQ(rows.size(), 1U) << rows.dump(1);
        return rows.empty() ? json::object() : rows[0];
    }

    void expect_ok(const json& row, const Response& reply, const StoredToken& token)
    {
        EXPECT_EQ(row["request_id"], reply.head["x-llm-proxy-request-id"]);
        EXPECT_EQ(row["attempt"], 1);
        EXPECT_EQ(row["project"], token.project);
        EXPECT_EQ(row["token"], token.id);
        EXPECT_EQ(row["route"], "chat_completions");
        EXPECT_EQ(row["backend"], "b1");
        EXPECT_EQ(row["model"], "gpt-4o");
        EXPECT_EQ(row["served_model"], "gpt-4o-2024");
        EXPECT_EQ(row["prompt_tokens"], 5);
        EXPECT_EQ(row["completion_tokens"], 6);
        EXPECT_EQ(row["estimated"], false);
        EXPECT_EQ(row["cost_usd"], "0.000017");
        EXPECT_EQ(row["priced"], true);
        EXPECT_EQ(row["status"], 200);
        EXPECT_EQ(row["outcome"], "ok");
        EXPECT_EQ(row["finish_reason"], "stop");
        EXPECT_FALSE(row["first_byte_ms"].is_null());
        EXPECT_EQ(row["bytes_out"], reply.body.size());
    }

    void expect_refused(const Response& reply, int status, const std::string& code,
                        const StoredToken& token)
    {
        EXPECT_EQ(reply.status, status) << reply.body;
        EXPECT_EQ(error_code(reply), code);
        EXPECT_FALSE(has_text(reply.head.raw + reply.body, token.secret));
        EXPECT_FALSE(has_text(reply.head.raw + reply.body, token.secret.substr(12)));
    }
};

}  // namespace

TEST_F(Accounts, AChatIsWrittenDownExactly)
{
    const auto token = make_token(api);
    const auto reply = proxy.ask(chat("gpt-4o", false, token.line()));
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_FALSE(has_text(backend.last_request().head.raw, token.secret));
    const auto row = only_row(token);
    expect_ok(row, reply, token);
    EXPECT_EQ(row["stream"], false);
    EXPECT_EQ(row["bytes_in"], chat_body().size());
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["input_tokens"], 5);
}

TEST_F(Accounts, AStreamIsWrittenDownExactlyAndShowsNoUsageThatNobodyAskedFor)
{
    const auto token = make_token(api);
    const auto reply = proxy.ask(chat("gpt-4o", true, token.line()));
    EXPECT_TRUE(reply.complete());
    EXPECT_EQ(reply.body, kStreamEvent + kStreamLast + kStreamDone);
    const auto row = only_row(token);
    expect_ok(row, reply, token);
    EXPECT_EQ(row["stream"], true);
    EXPECT_EQ(row["bytes_in"], chat_body("gpt-4o", true).size());
}

TEST_F(Accounts, WhoSeesTheEndOfAStreamFindsItsUsageInTheStore)
{
    const auto token = make_token(api);
    for (const auto* const asked : {"", R"(,"stream_options":{"include_usage":true})"}) {
        Gate over;
        backend.next([&over](Exchange& exchange) {
            exchange.begin_sse();
            for (const auto& piece : {kStreamEvent, usage_event(5, 6), kStreamDone}) {
                exchange.piece(piece);
            }
            exchange.wait(over);
            exchange.last();
        });
        const auto before = usage_of(api, token).size();
        auto client = proxy.connect();
        client.send(
            post_json("/v1/chat/completions",
                      R"({"model":"gpt-4o","stream":true,"messages":[])" + std::string(asked) + "}",
                      token.line()));
        auto reply = client.head();
        while (!has_text(reply.body, kStreamDone)) {
            const auto piece = client.piece(reply);
            ASSERT_TRUE(piece) << reply.body;
        }
        const auto rows = usage_of(api, token);
        ASSERT_EQ(rows.size(), before + 1);
        EXPECT_EQ(rows.back()["prompt_tokens"], 5);
        EXPECT_EQ(rows.back()["bytes_out"], reply.body.size());
        EXPECT_EQ(has_text(reply.body, "prompt_tokens"), *asked != '\0');
        over.open();
        client.finish(reply);
        EXPECT_TRUE(reply.complete());
        EXPECT_EQ(usage_of(api, token).size(), before + 1) << "once";
    }
}

TEST_F(Accounts, ARevokedTokenIsRefusedFromTheNextCallOn)
{
    const auto token = make_token(api);
    ASSERT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    ASSERT_EQ(api.post(token.path() + "/revoke").status, 200);
    expect_refused(proxy.ask(chat("gpt-4o", false, token.line())), 401, "invalid_api_key", token);
    auto client = proxy.connect();
    EXPECT_EQ(open_tunnel(client, origin.port(), token.line("Proxy-Authorization")).status, 407);
    EXPECT_EQ(backend.request_count(), 1U);
    EXPECT_EQ(usage_of(api, token).size(), 1U);
}

TEST_F(Accounts, ADeletedTokenAndOneOfADisabledProjectAreRefused)
{
    const auto deleted = make_token(api);
    const auto disabled = make_token(api);
    for (const auto& token : {deleted, disabled}) {
        ASSERT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    }
    ASSERT_EQ(api.remove(deleted.path()).status, 204);
    ASSERT_EQ(api.patch(disabled.project_path(), R"({"enabled":false})").status, 200);
    for (const auto& token : {deleted, disabled}) {
        expect_refused(proxy.ask(chat("gpt-4o", false, token.line())), 401, "invalid_api_key",
                       token);
    }
    ASSERT_EQ(api.patch(disabled.project_path(), R"({"enabled":true})").status, 200);
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, disabled.line())).status, 200);
}

TEST_F(Accounts, RevokingATokenEndsItsStreamsAndNoOther)
{
    const auto token = make_token(api);
    const auto other = make_token(api, token.project);
    Gate go_on;
    backend.always([&go_on](Exchange& exchange) {
        exchange.begin_sse();
        exchange.piece(kStreamEvent);
        exchange.wait(go_on);
        exchange.piece(kStreamDone);
        exchange.last();
    });
    auto client = proxy.connect();
    auto bystander = proxy.connect();
    client.send(chat("gpt-4o", true, token.line()));
    bystander.send(chat("gpt-4o", true, other.line()));
    auto reply = client.head();
    auto kept = bystander.head();
    ASSERT_TRUE(client.piece(reply));
    ASSERT_TRUE(bystander.piece(kept));

    ASSERT_EQ(api.post(token.path() + "/revoke").status, 200);
    const auto revoked = std::chrono::steady_clock::now();
    client.finish(reply);
    EXPECT_LT(std::chrono::steady_clock::now() - revoked, kAtOnce);
    EXPECT_TRUE(reply.cut()) << "it does not look complete";
    EXPECT_FALSE(has_text(reply.body, "[DONE]"));
    EXPECT_FALSE(has_text(reply.body, token.secret.substr(12)));
    const auto line = proxy.access_line(reply);
    ASSERT_TRUE(line.is_object());
    EXPECT_EQ(line["outcome"], "invalid_api_key");
    const auto row = only_row(token);
    EXPECT_EQ(row["outcome"], "invalid_api_key");
    EXPECT_EQ(row["estimated"], true);
    EXPECT_GT(row["prompt_tokens"], 0);
    EXPECT_EQ(row["completion_tokens"], 1) << "one event";

    go_on.open(2);
    bystander.finish(kept);
    EXPECT_TRUE(kept.complete());
}

TEST_F(Accounts, RevokingATokenEndsARequestThatHasNoAnswerYet)
{
    const auto token = make_token(api);
    backend.next([](Exchange& exchange) { exchange.stall(); });
    auto client = proxy.connect();
    client.send(chat("gpt-4o", false, token.line()));
    ASSERT_TRUE(backend.wait_requests(1));
    ASSERT_EQ(api.post(token.path() + "/revoke").status, 200);
    const auto revoked = std::chrono::steady_clock::now();
    const auto reply = client.response();
    EXPECT_LT(std::chrono::steady_clock::now() - revoked, kAtOnce);
    expect_refused(reply, 401, "invalid_api_key", token);
    const auto row = only_row(token);
    EXPECT_EQ(row["status"], 0);
    EXPECT_EQ(row["estimated"], true);
}

TEST_F(Accounts, RevokingATokenEndsItsTunnels)
{
    const auto token = make_token(api);
    auto client = proxy.connect();
    ASSERT_EQ(open_tunnel(client, origin.port(), token.line("Proxy-Authorization")).status, 200);
    client.send("hello");
    ASSERT_TRUE(client.read_until([](std::string_view seen) { return seen == "hello"; }));

    ASSERT_EQ(api.post(token.path() + "/revoke").status, 200);
    const auto revoked = std::chrono::steady_clock::now();
    const auto end = client.read_to_end();
    EXPECT_TRUE(end == ReadEnd::fin || end == ReadEnd::reset);
    EXPECT_LT(std::chrono::steady_clock::now() - revoked, kAtOnce);
    const auto line = proxy.access_line_where("route", "connect");
    ASSERT_TRUE(line.is_object());
    const auto row = only_row(token);
    EXPECT_EQ(row["route"], "connect");
    EXPECT_EQ(row["host"], authority(origin.port()));
    EXPECT_EQ(row["outcome"], "revoked");
    EXPECT_EQ(row["bytes_in"], 5);
    EXPECT_EQ(row["bytes_out"], 5);
    EXPECT_EQ(row["cost_usd"], "0");
}

TEST_F(Accounts, AnExpiredTokenIsRefused)
{
    const auto token = make_token(api);
    ASSERT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    ASSERT_EQ(api.patch(token.path(), R"({"expires_at":"2020-01-01T00:00:00Z"})").status, 200);
    expect_refused(proxy.ask(chat("gpt-4o", false, token.line())), 401, "invalid_api_key", token);
    ASSERT_EQ(api.patch(token.path(), R"({"expires_at":null})").status, 200);
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
}

TEST_F(Accounts, ATokenUsesTheModelsThatItAndItsProjectHave)
{
    const auto token = make_token(api, {}, {{"models", {"gpt-4o", "o3"}}});
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    expect_refused(proxy.ask(chat("gpt-4o-mini", false, token.line())), 403, "model_not_allowed",
                   token);
    ASSERT_EQ(api.patch(token.project_path(), R"({"models":["gpt-*"]})").status, 200);
    EXPECT_EQ(proxy.ask(chat("gpt-4o", false, token.line())).status, 200);
    expect_refused(proxy.ask(chat("o3", false, token.line())), 403, "model_not_allowed", token);
    EXPECT_EQ(backend.request_count(), 2U);
    EXPECT_EQ(usage_of(api, token).size(), 2U) << "what is refused costs nothing";
}

TEST_F(Accounts, ATokenUsesTheRoutesThatItHas)
{
    const auto moderation = [](const StoredToken& of) {
        return post_json("/v1/moderations", R"({"input":"x"})", of.line());
    };
    const auto usual = make_token(api);
    expect_refused(proxy.ask(moderation(usual)), 403, "route_not_allowed", usual);
    const auto token = make_token(api, {}, {{"routes", {"embeddings", "moderations"}}});
    expect_refused(proxy.ask(chat("gpt-4o", false, token.line())), 403, "route_not_allowed", token);
    EXPECT_EQ(
        proxy.ask(post_json("/v1/embeddings", R"({"model":"gpt-e","input":"x"})", token.line()))
            .status,
        200);
    expect_refused(proxy.ask(moderation(token)), 403, "route_not_allowed", token);
    api.make("/manage/keys",
             {{"project", token.project}, {"backend", "b1"}, {"name", "own"}, {"key", "sk-own"}});
    EXPECT_EQ(proxy.ask(moderation(token)).status, 200) << "with a provider key of its own";
    auto client = proxy.connect();
    client.send(connect_request(origin.port(), token.line("Proxy-Authorization")));
    expect_refused(client.response(), 403, "route_not_allowed", token);
}

TEST_F(Accounts, ATokenReachesTheHostsThatItHas)
{
    const auto token = make_token(api, {}, {{"hosts", {authority(origin.port())}}});
    auto client = proxy.connect();
    EXPECT_EQ(open_tunnel(client, origin.port(), token.line("Proxy-Authorization")).status, 200);
    auto refused = proxy.connect();
    refused.send(connect_request(elsewhere.port(), token.line("Proxy-Authorization")));
    expect_refused(refused.response(), 403, "destination_not_allowed", token);
    EXPECT_EQ(elsewhere.connection_count(), 0U);
}

TEST_F(Accounts, ErrorsOfTheBackendDoNotHoldTheToken)
{
    const auto token = make_token(api);
    for (const int status : {400, 401, 429, 500}) {
        backend.next([status](Exchange& exchange) {
            exchange.json("{\"error\":{\"message\":\"you sent " + exchange.request().head.raw +
                              "\"}}",
                          status);
        });
        const auto reply = proxy.ask(chat("gpt-4o", false, token.line()));
        EXPECT_GE(reply.status, 400);
        EXPECT_FALSE(has_text(reply.head.raw + reply.body, token.secret.substr(12)));
    }
    for (const auto& row : usage_of(api, token)) {
        EXPECT_EQ(row["prompt_tokens"], 0) << "refused, not worked on: " << row.dump();
    }
    EXPECT_FALSE(has_text(proxy.diagnostics() + proxy.access_log(), token.secret.substr(12)));
}

TEST_F(Accounts, AWrongTokenIsRefusedHoweverItIsWrong)
{
    const auto token = make_token(api);
    auto wrong = token;
    wrong.secret.back() = wrong.secret.back() == 'a' ? 'b' : 'a';
    expect_refused(proxy.ask(chat("gpt-4o", false, wrong.line())), 401, "invalid_api_key", wrong);
    for (const auto& text : {token.secret + "a", token.secret.substr(0, 40), std::string("x"),
                             std::string(5000, 'a'), std::string(kAdminToken)}) {
        const auto reply =
            proxy.ask(chat("gpt-4o", false, "Authorization: Bearer " + text + "\r\n"));
        EXPECT_EQ(reply.status, 401) << text;
        EXPECT_FALSE(text.size() > 20 && has_text(reply.head.raw + reply.body, text));
    }
    EXPECT_EQ(ManageApi(proxy, token.secret).get("/manage/projects").status, 401);
    EXPECT_EQ(backend.request_count(), 0U);
}

TEST(StoreFiles, HoldNoTokenAndNoKeyInClear)
{
    const std::string backend_key = "sk-canary-backend-key-0123456789";
    const std::string project_key = "sk-canary-project-key-0123456789";
    const TempDir dir;
    FakeBackend backend([](Exchange& exchange) { exchange.json(chat_reply(5, 6)); });
    auto config = with_accounts(backend.url(), dir.file("store.db"));
    config.backends.clear();
    config.backend("b1", backend.url(), R"(["*"])", "api_key: " + backend_key);
    std::vector<std::string> secrets{backend_key, project_key, std::string(kMasterKey),
                                     std::string(kAdminToken), std::string(kViewerToken)};
    std::string all;
    const auto read_all = [&] {
        for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
            all += read_file(entry.path().string());
        }
    };
    StoredToken without;
    {
        ProxyUnderTest proxy(config);
        const ManageApi api(proxy);
        without = make_token(api);
        const auto with = make_token(api);
        for (const auto& token : {without, with}) {
            secrets.push_back(token.secret);
            secrets.push_back(token.secret.substr(12));
        }
        api.make(
            "/manage/keys",
            {{"project", with.project}, {"backend", "b1"}, {"name", "own"}, {"key", project_key}});
        EXPECT_EQ(proxy.ask(chat("gpt-4o", false, without.line())).status, 200);
        EXPECT_EQ(backend.last_request().head["Authorization"], "Bearer " + backend_key);
        EXPECT_EQ(proxy.ask(chat("gpt-4o", false, with.line())).status, 200);
        EXPECT_EQ(backend.last_request().head["Authorization"], "Bearer " + project_key);

        Gate held;
        backend.next([&held](Exchange& exchange) {
            exchange.wait(held);
            exchange.json(chat_reply(5, 6));
        });
        auto client = proxy.connect();
        client.send(chat("gpt-4o", false, with.line()));
        ASSERT_TRUE(backend.wait_requests(3));
        read_all();
        held.open();
        EXPECT_EQ(client.response().status, 200);
    }
    read_all();
    EXPECT_TRUE(has_text(all, without.secret.substr(0, 11))) << "what it is recognised by";
    for (const auto& secret : secrets) {
        EXPECT_FALSE(has_text(all, secret)) << secret;
    }
}
