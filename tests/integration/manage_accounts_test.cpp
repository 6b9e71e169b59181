// Projects, tokens, provider keys, limits and budgets by the management API, over sockets and in SQLite.

#include "support/fake_backend.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

#include <filesystem>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

class ManageAccounts : public testing::Test {
protected:
    json project(const std::string& name) { return api.make("/manage/projects", {{"name", name}}); }
    json token(const std::string& of, const std::string& name)
    {
        return api.make("/manage/tokens", {{"project", of}, {"name", name}});
    }
    /// Everything in the files of the store.
    std::string files()
    {
        std::string all;
        for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
            all += read_file(entry.path().string());
        }
        return all;
    }
    json newest_audit() { return api.read("/manage/audit?limit=1")["data"][0]; }

    TempDir dir;
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{managed(backend.url(), dir.file("store.db"))};
    ManageApi api{proxy};
};

}  // namespace

TEST_F(ManageAccounts, AProjectIsMadeReadChangedAndDeleted)
{
    const auto made =
        api.post("/manage/projects",
                 R"({"name":"team-a","models":["gpt-*"],"hosts":["*.example.com:443"]})");
    ASSERT_EQ(made.status, 201) << made.body;
    const auto path = made.head["location"];
    EXPECT_EQ(made.head["etag"], "\"1\"");
    const auto read = api.get(path);
    EXPECT_EQ(read.body, made.body);
    EXPECT_EQ(read.head["etag"], "\"1\"");

    const auto changed = api.patch(path, R"({"enabled":false,"models":[]})", "\"1\"");
    ASSERT_EQ(changed.status, 200) << changed.body;
    EXPECT_EQ(changed.head["etag"], "\"2\"");
    const auto now = json::parse(changed.body);
    EXPECT_EQ(now["name"], "team-a") << "what was not said stays";
    EXPECT_EQ(now["enabled"], false);
    EXPECT_EQ(now["models"], json::array());
    EXPECT_EQ(now["hosts"], json::array({"*.example.com:443"}));

    EXPECT_EQ(api.remove(path).status, 204);
    EXPECT_EQ(api.remove(path).status, 204) << "again";
    EXPECT_EQ(api.get(path).status, 404);
}

TEST_F(ManageAccounts, AChangeMustBeginFromWhatIsThere)
{
    const auto path = "/manage/projects/" + project("p")["id"].get<std::string>();
    EXPECT_EQ(api.patch(path, R"({"name":"q"})", "").status, 428);
    EXPECT_EQ(api.patch(path, R"({"name":"q"})", "\"1\"").status, 200);
    const auto late = api.patch(path, R"({"name":"r"})", "\"1\"");
    EXPECT_EQ(late.status, 412);
    EXPECT_EQ(error_code(late), "precondition_failed");
    EXPECT_EQ(api.patch(path, R"({"name":"r"})", "W/\"2\"").status, 412)
        << "weak tags match nothing";
    EXPECT_EQ(api.patch(path, R"({"name":"r"})", "\"1\", \"2\"").status, 200);
    EXPECT_EQ(api.ask("DELETE", path, "", "If-Match: \"1\"\r\n").status, 412);
    EXPECT_EQ(api.ask("DELETE", path, "", "If-Match: \"3\"\r\n").status, 204);
}

TEST_F(ManageAccounts, LimitsAndBudgetsShareTheVersionOfTheirSubject)
{
    const auto path = "/manage/projects/" + project("p")["id"].get<std::string>();
    const auto limits = api.put(path + "/limits",
                                R"({"limits":[{"requests_per_minute":60,"tokens_per_minute":null},
                                              {"route":"embeddings","tunnels":0}]})",
                                "\"1\"");
    ASSERT_EQ(limits.status, 200) << limits.body;
    EXPECT_EQ(limits.head["etag"], "\"2\"");
    const auto read = api.get(path + "/limits");
    EXPECT_EQ(read.body, limits.body);
    EXPECT_EQ(read.head["etag"], "\"2\"");
    EXPECT_EQ(json::parse(read.body)["limits"][0]["requests_per_minute"], 60);
    EXPECT_TRUE(json::parse(read.body)["limits"][1]["requests_per_minute"].is_null());

    EXPECT_EQ(api.put(path + "/budgets", R"({"budgets":[]})", "\"1\"").status, 412);
    const auto budgets =
        api.put(path + "/budgets", R"({"budgets":[{"period":"month","cost_usd":12.5},
                                                  {"period":"total","tokens":0,"soft_percents":[90,50,90]}]})",
                "\"2\"");
    ASSERT_EQ(budgets.status, 200) << budgets.body;
    const auto body = json::parse(budgets.body)["budgets"];
    EXPECT_EQ(body[0]["cost_usd"], "12.5");
    EXPECT_TRUE(body[0]["tokens"].is_null());
    EXPECT_EQ(body[1]["soft_percents"], json::array({50, 90}));
    EXPECT_EQ(api.get(path).head["etag"], "\"3\"");
    const auto spend = api.read(path + "/spend")["data"];
    EXPECT_EQ(spend[2]["limit_usd"], "12.5");
    EXPECT_TRUE(spend[2]["limit_tokens"].is_null());
    EXPECT_EQ(spend[2]["reserved_usd"], "0");
    EXPECT_TRUE(spend[0]["limit_usd"].is_null());
    EXPECT_EQ(spend[3]["limit_tokens"], 0);
}

TEST_F(ManageAccounts, WhatContradictsItselfIsRefusedByTheField)
{
    const auto path = "/manage/projects/" + project("p")["id"].get<std::string>();
    struct Case {
        const char* target;
        const char* body;
        const char* param;
    };
    for (const auto& [target, body, param] : std::initializer_list<Case>{
             {"/limits", R"({"limits":[{"tunnels":1},{"tunnels":2}]})", "limits[1].route"},
             {"/limits", R"({"limits":[{"route":"nowhere"}]})", "limits[0].route"},
             {"/limits", R"({"limits":[{"requests_per_minute":-1}]})",
              "limits[0].requests_per_minute"},
             {"/limits", R"({"limits":[{"requests_per_hour":1}]})", "limits[0].requests_per_hour"},
             {"/limits", R"({})", "limits"},
             {"/budgets",
              R"({"budgets":[{"period":"day","tokens":1},{"period":"day","tokens":2}]})",
              "budgets[1].period"},
             {"/budgets", R"({"budgets":[{"period":"year","tokens":1}]})", "budgets[0].period"},
             {"/budgets", R"({"budgets":[{"period":"day"}]})", "budgets[0].cost_usd"},
             {"/budgets", R"({"budgets":[{"period":"day","cost_usd":"-1"}]})",
              "budgets[0].cost_usd"},
             {"/budgets", R"({"budgets":[{"period":"day","cost_usd":"0.0000000001"}]})",
              "budgets[0].cost_usd"},
             {"/budgets", R"({"budgets":[{"period":"day","tokens":1,"soft_percents":[0]}]})",
              "budgets[0].soft_percents[0]"},
         }) {
        const auto reply = api.put(path + target, body);
        EXPECT_EQ(reply.status, 400) << body;
        EXPECT_EQ(error_param(reply), param) << reply.body;
    }
    EXPECT_EQ(api.get(path).head["etag"], "\"1\"") << "nothing was changed";
}

TEST_F(ManageAccounts, ATokenIsShownOnceAndKeptNowhere)
{
    const auto owner = project("p")["id"].get<std::string>();
    const auto made = token(owner, "ci");
    const auto secret = made["secret"].get<std::string>();
    EXPECT_TRUE(secret.starts_with("llmp_"));
    EXPECT_EQ(secret.size(), 48U);
    EXPECT_TRUE(secret.starts_with(made["prefix"].get<std::string>()));
    EXPECT_EQ(made["status"], "active");

    const auto path = "/manage/tokens/" + made["id"].get<std::string>();
    std::string shown = api.get(path).body + api.get("/manage/tokens").body +
                        api.get("/manage/audit").body + api.patch(path, R"({"name":"x"})").body +
                        api.post(path + "/revoke").body;
    shown += proxy.diagnostics() + proxy.access_log() + files();
    EXPECT_FALSE(has_text(shown, secret));
    EXPECT_FALSE(has_text(shown, secret.substr(12)));
}

TEST_F(ManageAccounts, ARevokedTokenStaysInTheListAndStaysRevoked)
{
    const auto owner = project("p")["id"].get<std::string>();
    const auto path = "/manage/tokens/" + token(owner, "ci")["id"].get<std::string>();
    const auto revoked = api.post(path + "/revoke");
    ASSERT_EQ(revoked.status, 200);
    EXPECT_EQ(json::parse(revoked.body)["status"], "revoked");
    EXPECT_EQ(api.post(path + "/revoke").body, revoked.body) << "again";
    EXPECT_EQ(api.patch(path, R"({"name":"y"})", "\"1\"").status, 412);
    EXPECT_EQ(json::parse(api.patch(path, R"({"name":"y"})").body)["status"], "revoked");
    EXPECT_EQ(api.read("/manage/tokens?project=" + owner)["data"].size(), 1U);
}

TEST_F(ManageAccounts, ExpiryIsSetAndTakenAway)
{
    const auto owner = project("p")["id"].get<std::string>();
    const auto path = "/manage/tokens/" + token(owner, "ci")["id"].get<std::string>();
    const auto soon =
        json::parse(api.patch(path, R"({"expires_at":"2000-01-01T01:00:00+01:00"})").body);
    EXPECT_EQ(soon["expires_at"], "2000-01-01T00:00:00.000Z");
    EXPECT_EQ(soon["status"], "expired");
    const auto never = json::parse(api.patch(path, R"({"expires_at":null})").body);
    EXPECT_TRUE(never["expires_at"].is_null());
    EXPECT_EQ(never["status"], "active");
}

TEST_F(ManageAccounts, ATokenNeedsAProjectThatExists)
{
    const auto reply = api.post("/manage/tokens", R"({"project":"proj_77","name":"x"})");
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(error_param(reply), "project");
}

TEST_F(ManageAccounts, NamesAreUniqueWhereTheyHaveToBe)
{
    const auto a = project("a")["id"].get<std::string>();
    const auto b = project("b")["id"].get<std::string>();
    token(a, "ci");
    token(b, "ci");
    const auto twice = api.post("/manage/tokens", json{{"project", a}, {"name", "ci"}}.dump());
    EXPECT_EQ(twice.status, 409);
    EXPECT_EQ(error_param(twice), "name");
    EXPECT_EQ(api.patch("/manage/projects/" + b, R"({"name":"a"})").status, 409);
}

TEST_F(ManageAccounts, DeletingAProjectDeletesWhatItOwns)
{
    const auto owner = project("p")["id"].get<std::string>();
    const auto id = token(owner, "ci")["id"].get<std::string>();
    api.make("/manage/keys",
             {{"project", owner}, {"backend", "b1"}, {"name", "k"}, {"key", "sk-1"}});
    EXPECT_EQ(api.remove("/manage/projects/" + owner).status, 204);
    EXPECT_EQ(api.get("/manage/tokens/" + id).status, 404);
    EXPECT_EQ(api.read("/manage/keys")["data"].size(), 0U);
    EXPECT_NE(project("q")["id"], owner) << "ids are never given twice";
}

TEST_F(ManageAccounts, AProviderKeyIsWrittenAndNeverRead)
{
    const std::string secret = "sk-canary-provider-key-0123456789";
    const auto owner = project("p")["id"].get<std::string>();
    const auto made = api.post(
        "/manage/keys",
        json{{"project", owner}, {"backend", "b1"}, {"name", "main"}, {"key", secret}}.dump());
    ASSERT_EQ(made.status, 201) << made.body;
    const auto path = "/manage/keys/" + json::parse(made.body)["id"].get<std::string>();
    std::string shown = made.body + api.get(path).body + api.get("/manage/keys").body;
    shown += api.patch(path, json{{"key", secret + "-2"}}.dump()).body;
    shown += api.get("/manage/audit").body + proxy.diagnostics() + proxy.access_log() + files();
    EXPECT_FALSE(has_text(shown, secret));
    const auto unknown = api.post(
        "/manage/keys",
        json{{"project", owner}, {"backend", "nobody"}, {"name", "x"}, {"key", secret}}.dump());
    EXPECT_EQ(error_param(unknown), "backend");
    const auto odd = api.patch(path, R"({"key":"with space"})");
    EXPECT_EQ(error_param(odd), "key");
    EXPECT_FALSE(has_text(unknown.body + odd.body, "with space"));
    EXPECT_EQ(api.remove(path).status, 204);
    EXPECT_EQ(api.remove(path).status, 204);
}

TEST_F(ManageAccounts, OddNamesAreJustNames)
{
    std::string of_200;
    for (int i = 0; i < 50; ++i) {
        of_200 += "\xf0\x9f\x98\x80"
                  "abc";
    }
    for (const std::string& name :
         {std::string("'; DROP TABLE projects; --"), std::string("100% \\ \"q\" %s %n"),
          std::string("中文 العربية e\xcc\x81"), std::string("NULL"), std::string(" "),
          std::string("../../etc/passwd"), of_200}) {
        const auto made = project(name);
        EXPECT_EQ(made["name"], name);
        EXPECT_EQ(api.read("/manage/projects/" + made["id"].get<std::string>())["name"], name);
    }
    EXPECT_EQ(api.read("/manage/projects?name=%27%3B+DROP+TABLE+projects%3B+--")["data"].size(),
              1U);
    EXPECT_EQ(api.read("/manage/projects?name=%25")["data"].size(), 0U);
    EXPECT_EQ(api.read("/manage/projects")["data"].size(), 7U);
    EXPECT_EQ(api.post("/manage/projects", json{{"name", std::string(10'240, 'n')}}.dump()).status,
              400);
    EXPECT_EQ(api.post("/manage/projects", R"({"name":"a\u0000b"})").status, 400);
    EXPECT_EQ(api.post("/manage/projects", "{\"name\":\"\xff\"}").status, 400);
    const auto twice = api.post("/manage/projects", R"({"name":"a","name":"b"})");
    EXPECT_EQ(twice.status, 400);
    EXPECT_EQ(error_param(twice), "name");
    EXPECT_EQ(api.post("/manage/projects", R"({"nam":"a"})").status, 400);
    EXPECT_EQ(api.post("/manage/projects", "").status, 415) << "no body, no type";
}

TEST_F(ManageAccounts, ListsArePagedWithoutShifting)
{
    for (int i = 0; i < 25; ++i) {
        project("p" + std::to_string(i));
    }
    std::vector<std::string> names;
    std::string after;
    do {
        const auto page =
            api.read("/manage/projects?limit=10" + (after.empty() ? "" : "&after=" + after));
        for (const auto& one : page["data"]) {
            names.push_back(one["name"]);
        }
        after = page["next"].is_null() ? "" : page["next"].get<std::string>();
        if (names.size() == 10) {
            api.remove("/manage/projects/proj_3");
            project("late");
        }
    } while (!after.empty());
    ASSERT_EQ(names.size(), 26U);
    EXPECT_EQ(names.front(), "p0");
    EXPECT_EQ(names.back(), "late");
    const auto odd = api.get("/manage/projects?after=%27nonsense");
    EXPECT_EQ(odd.status, 400);
    EXPECT_EQ(error_param(odd), "after");
    EXPECT_EQ(error_param(api.get("/manage/projects?limit=0")), "limit");
    EXPECT_EQ(error_param(api.get("/manage/projects?limit=1001")), "limit");
}

TEST_F(ManageAccounts, EveryChangeIsInTheAuditLogWithBeforeAndAfter)
{
    const auto owner = project("p")["id"].get<std::string>();
    auto entry = newest_audit();
    EXPECT_EQ(entry["action"], "project.create");
    EXPECT_EQ(entry["actor"], "admin");
    EXPECT_EQ(entry["source"], "127.0.0.1");
    EXPECT_EQ(entry["target"], owner);
    EXPECT_TRUE(entry["before"].is_null());
    EXPECT_EQ(entry["after"]["name"], "p");

    api.patch("/manage/projects/" + owner, R"({"name":"q"})");
    entry = newest_audit();
    EXPECT_EQ(entry["action"], "project.update");
    EXPECT_EQ(entry["before"]["name"], "p");
    EXPECT_EQ(entry["after"]["name"], "q");

    const auto id = token(owner, "ci")["id"].get<std::string>();
    EXPECT_EQ(newest_audit()["action"], "token.create");
    api.put("/manage/tokens/" + id + "/limits", R"({"limits":[{"tunnels":1}]})");
    entry = newest_audit();
    EXPECT_EQ(entry["action"], "token.limits");
    EXPECT_EQ(entry["before"]["limits"], json::array());
    EXPECT_EQ(entry["after"]["limits"][0]["tunnels"], 1);
    api.post("/manage/tokens/" + id + "/revoke");
    EXPECT_EQ(newest_audit()["action"], "token.revoke");
    api.remove("/manage/tokens/" + id);
    entry = newest_audit();
    EXPECT_EQ(entry["action"], "token.delete");
    EXPECT_EQ(entry["target"], id);
    EXPECT_TRUE(entry["after"].is_null());

    const auto before = api.read("/manage/audit")["data"].size();
    api.remove("/manage/tokens/" + id);
    api.patch("/manage/projects/" + owner, R"({"name":"r"})", "\"1\"");
    EXPECT_EQ(api.read("/manage/audit")["data"].size(), before) << "nothing was changed";
    EXPECT_EQ(api.read("/manage/audit?action=token.create")["data"].size(), 1U);
    EXPECT_EQ(api.read("/manage/audit?target_kind=project&target=" + owner)["data"].size(), 2U);
    EXPECT_EQ(api.read("/manage/audit?actor=nobody")["data"].size(), 0U);
    EXPECT_EQ(api.read("/manage/audit?order=oldest&limit=1")["data"][0]["action"],
              "project.create");
}

TEST_F(ManageAccounts, AViewerReadsAndChangesNothing)
{
    const auto owner = project("p")["id"].get<std::string>();
    const ManageApi viewer(proxy, kViewerToken);
    EXPECT_EQ(viewer.read("/manage/projects")["data"].size(), 1U);
    const auto refused = viewer.remove("/manage/projects/" + owner);
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(json::parse(refused.body)["error"]["type"], "permission_error");
    EXPECT_EQ(api.read("/manage/projects")["data"].size(), 1U);
}

TEST_F(ManageAccounts, WhatWasMadeIsThereAfterARestart)
{
    const auto store = dir.file("other.db");
    std::string id;
    {
        ProxyUnderTest first(managed(backend.url(), store));
        id = ManageApi(first).make("/manage/projects", {{"name", "kept"}})["id"];
    }
    ProxyUnderTest second(managed(backend.url(), store));
    EXPECT_EQ(ManageApi(second).read("/manage/projects/" + id)["name"], "kept");
}
