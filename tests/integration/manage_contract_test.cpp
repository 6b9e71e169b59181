// Holds /manage/openapi.json against the daemon: every operation is there, every documented status is seen, every
// answer is as documented, and nobody gets in without a token.

#include "support/fake_backend.hpp"
#include "support/json_schema.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

struct Operation {
    std::string id;
    std::string method;
    std::string path;
    json description;

    [[nodiscard]] bool documents(int status) const
    {
        return description["responses"].contains(std::to_string(status));
    }
};

/// What a request that succeeds looks like; each call makes one that can succeed.
struct Sample {
    std::string target;
    std::string body;
    std::string fields;
};

std::string upper(std::string text)
{
    for (auto& c : text) {
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    return text;
}

std::vector<Operation> operations_of(const json& document)
{
    std::vector<Operation> all;
    for (const auto& [path, methods] : document["paths"].items()) {
        for (const auto& [method, operation] : methods.items()) {
            all.push_back({operation["operationId"], upper(method), path, operation});
        }
    }
    return all;
}

class ManageContract : public testing::Test {
protected:
    ManageContract()
    {
        document = api.read("/manage/openapi.json");
        operations = operations_of(document);
        project = fresh_project();
        token = fresh_token();
        key = fresh_key();
        proxy.ask(chat("gpt-4o", false, "X-Request-Id: a-request\r\n"));
        while (api.get("/manage/requests/a-request").status !=
               200) {  // its record is being written
        }
    }

    std::string unused_name() { return "n" + std::to_string(++names_); }
    std::string fresh_project()
    {
        return api.make("/manage/projects", {{"name", unused_name()}})["id"];
    }
    std::string fresh_token()
    {
        return api.make("/manage/tokens", {{"project", project}, {"name", unused_name()}})["id"];
    }
    json new_key()
    {
        return {{"project", project}, {"backend", "b1"}, {"name", unused_name()}, {"key", "sk-1"}};
    }
    std::string fresh_key() { return api.make("/manage/keys", new_key())["id"]; }

    /// The path with its parameters filled in.
    static std::string fill(std::string path, const std::map<std::string, std::string>& values)
    {
        for (const auto& [name, value] : values) {
            const auto at = path.find("{" + name + "}");
            if (at != std::string::npos) {
                path.replace(at, name.size() + 2, value);
            }
        }
        return path;
    }

    std::string body_for(const std::string& id)
    {
        if (id == "createProject" || id == "updateProject" || id == "updateToken") {
            return json{{"name", unused_name()}}.dump();
        }
        if (id == "createToken") {
            return json{{"name", unused_name()}, {"project", project}}.dump();
        }
        if (id == "createKey") {
            return new_key().dump();
        }
        if (id == "updateKey") {
            return R"({"key":"sk-2"})";
        }
        if (id.ends_with("Limits") && id.starts_with("set")) {
            return R"({"limits":[{"requests_per_minute":5},{"route":"embeddings","tunnels":0}]})";
        }
        if (id.ends_with("Budgets") && id.starts_with("set")) {
            return R"({"budgets":[{"period":"day","cost_usd":0.5,"soft_percents":[50]}]})";
        }
        if (id == "explain") {
            return json{{"project", project}, {"model", "gpt-4o"}}.dump();
        }
        if (id == "setCircuit") {
            return R"({"action":"reset"})";
        }
        return id == "backup" ? json{{"path", unused_name() + ".db"}}.dump() : "";
    }

    Sample sample(const Operation& operation)
    {
        const bool deletes = operation.method == "DELETE";
        Sample made;
        made.target = fill(operation.path, {{"project", deletes ? fresh_project() : project},
                                            {"token", deletes ? fresh_token() : token},
                                            {"key", deletes ? fresh_key() : key},
                                            {"backend", "b1"},
                                            {"request", "a-request"}});
        if (operation.id == "tailRequests") {
            made.target += "?last=1&limit=1";
        }
        made.body = body_for(operation.id);
        made.fields = operation.documents(428) ? "If-Match: *\r\n" : "";
        return made;
    }

    /// Notes an answer, and what is wrong with it by the document.
    void note(const Operation& operation, const Response& reply, int expected)
    {
        EXPECT_EQ(reply.status, expected) << operation.id << ": " << reply.body;
        EXPECT_TRUE(reply.complete()) << operation.id;
        EXPECT_TRUE(operation.documents(reply.status))
            << operation.id << " does not document " << reply.status;
        EXPECT_EQ(reply.head["cache-control"], "no-store") << operation.id;
        EXPECT_EQ(reply.head["x-content-type-options"], "nosniff") << operation.id;
        seen.insert({operation.id, reply.status});
        if (!operation.documents(reply.status)) {
            return;
        }
        auto response = operation.description["responses"][std::to_string(reply.status)];
        if (response.contains("$ref")) {
            const auto at = response["$ref"].get<std::string>().substr(1);
            response = json(document.at(json::json_pointer(at)));
        }
        EXPECT_EQ(reply.head["etag"].empty(), !response.contains("headers")) << operation.id;
        const auto type = reply.head["content-type"];
        const auto media = type.substr(0, type.find(';'));
        if (!response.contains("content")) {
            EXPECT_TRUE(reply.body.empty()) << operation.id;
            EXPECT_EQ(reply.head.count("content-length"), 0U) << operation.id;
            return;
        }
        ASSERT_TRUE(response["content"].contains(media)) << operation.id << " sent " << media;
        if (response["content"][media].contains("schema")) {
            const auto body = json::parse(reply.body, nullptr, false);
            EXPECT_EQ(mismatch(body, response["content"][media]["schema"], document), "")
                << operation.id << " " << reply.status;
        }
    }

    Response ask(const ManageApi& as, const Operation& operation, const Sample& what)
    {
        return as.ask(operation.method, what.target, what.body, what.fields);
    }

    void for_each(int status, const std::function<void(const Operation&)>& f)
    {
        for (const auto& operation : operations) {
            if (operation.documents(status)) {
                f(operation);
            }
        }
    }

    void see_conflicts();

    TempDir dir;
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{managed(backend.url(), dir.file("store.db"))};
    ManageApi api{proxy};
    json document;
    std::vector<Operation> operations;
    std::string project;
    std::string token;
    std::string key;
    std::set<std::pair<std::string, int>> seen;

private:
    int names_ = 0;
};

}  // namespace

TEST_F(ManageContract, EveryOperationRefusesWhoShowsNoTokenOrAWrongOne)
{
    const ManageApi nobody(proxy, "");
    for (const auto& operation : operations) {
        const auto what = sample(operation);
        const auto reply = ask(nobody, operation, what);
        note(operation, reply, 401);
        EXPECT_TRUE(reply.head["www-authenticate"].starts_with("Bearer"));
        EXPECT_EQ(error_code(reply), "invalid_api_key");
    }
    // A wrong token from another address each time: too many from one are not listened to.
    for (const auto& operation : operations) {
        ProxyUnderTest another(managed(backend.url(), ""));
        const ManageApi wrong(another, "canary-wrong-token-0123456789");
        note(operation, ask(wrong, operation, sample(operation)), 401);
    }
    const ManageApi client(proxy, project);
    EXPECT_EQ(client.get("/manage/no-such-thing").status, 401) << "nothing is told before";
    EXPECT_EQ(nobody.get("/manage").status, 401);
}

TEST_F(ManageContract, EveryDocumentedStatusIsSeenAndEveryAnswerIsAsDocumented)
{
    ASSERT_GT(operations.size(), 30U);
    const ManageApi viewer(proxy, kViewerToken);
    const ManageApi nobody(proxy, "");
    for (const auto& operation : operations) {
        note(operation, ask(nobody, operation, sample(operation)), 401);
        auto wrong = sample(operation);
        wrong.target += "?no_such_parameter=1";
        note(operation, ask(api, operation, wrong), 400);
    }
    for_each(403, [&](const auto& operation) {
        note(operation, ask(viewer, operation, sample(operation)), 403);
    });
    for_each(404, [&](const auto& operation) {
        auto what = sample(operation);
        what.target = fill(operation.path, {{"project", "proj_999"},
                                            {"token", "tok_999"},
                                            {"key", "key_999"},
                                            {"backend", "none"},
                                            {"request", "none"}});
        note(operation, ask(api, operation, what), 404);
    });
    for_each(412, [&](const auto& operation) {
        auto what = sample(operation);
        what.fields = "If-Match: \"999\"\r\n";
        note(operation, ask(api, operation, what), 412);
    });
    for_each(413, [&](const auto& operation) {
        auto what = sample(operation);
        what.body = "{\"name\":\"" + std::string(140'000, 'x') + "\"}";
        note(operation, ask(api, operation, what), 413);
    });
    for_each(415, [&](const auto& operation) {
        auto what = sample(operation);
        what.fields += "Content-Type: text/plain\r\n";
        note(operation, ask(api, operation, what), 415);
    });
    for_each(428, [&](const auto& operation) {
        auto what = sample(operation);
        what.fields.clear();
        note(operation, ask(api, operation, what), 428);
    });
    see_conflicts();
    {
        ProxyUnderTest storeless(managed(backend.url(), ""));
        const ManageApi asking(storeless);
        for_each(503, [&](const auto& operation) {
            note(operation, ask(asking, operation, sample(operation)), 503);
        });
        const ManageApi guessing(storeless, "canary-wrong-token-0123456789");
        for (int i = 0; i <= 20; ++i) {
            EXPECT_EQ(guessing.get("/manage/backends").status, 401);
        }
        for_each(429, [&](const auto& operation) {
            const auto reply = ask(asking, operation, sample(operation));
            note(operation, reply, 429);
            EXPECT_FALSE(reply.head["retry-after"].empty());
        });
    }
    for (const auto& operation : operations) {
        const auto first = operation.description["responses"].begin().key();
        note(operation, ask(api, operation, sample(operation)), std::stoi(first));
    }
    for (const auto& operation : operations) {
        for (const auto& [status, unused] : operation.description["responses"].items()) {
            EXPECT_TRUE(seen.contains({operation.id, std::stoi(status)}))
                << operation.id << " was never seen to answer " << status;
        }
    }
}

void ManageContract::see_conflicts()
{
    const auto taken = api.read("/manage/projects/" + project)["name"].get<std::string>();
    const auto other = fresh_project();
    const auto taken_token = api.read("/manage/tokens/" + token)["name"].get<std::string>();
    const auto other_token = fresh_token();
    const auto taken_key = api.read("/manage/keys/" + key)["name"].get<std::string>();
    std::map<std::string, Sample> conflicts;
    conflicts["createProject"] = {"/manage/projects", json{{"name", taken}}.dump(), ""};
    conflicts["updateProject"] = {"/manage/projects/" + other, json{{"name", taken}}.dump(),
                                  "If-Match: *\r\n"};
    conflicts["createToken"] = {"/manage/tokens",
                                json{{"name", taken_token}, {"project", project}}.dump(), ""};
    conflicts["updateToken"] = {"/manage/tokens/" + other_token, json{{"name", taken_token}}.dump(),
                                "If-Match: *\r\n"};
    auto same_key = new_key();
    same_key["name"] = taken_key;
    conflicts["createKey"] = {"/manage/keys", same_key.dump(), ""};
    write_file(dir.file("there.db"), "x");
    conflicts["backup"] = {"/manage/backup", R"({"path":"there.db"})", ""};
    // The rest conflicts with a daemon that has no master key, or whose configuration is broken.
    const auto second_store = dir.file("second.db");
    {
        ProxyUnderTest with_key(managed(backend.url(), second_store));
        const ManageApi there(with_key);
        const auto made = there.make("/manage/projects", {{"name", "p"}});
        there.make("/manage/keys",
                   {{"project", made["id"]}, {"backend", "b1"}, {"name", "k"}, {"key", "sk-1"}});
    }
    ProxyUnderTest without_key(managed(backend.url(), second_store, ""));
    write_file(without_key.config_file(), "server: [\n");
    const ManageApi there(without_key);
    for_each(409, [&](const Operation& operation) {
        const auto found = conflicts.find(operation.id);
        if (found != conflicts.end()) {
            note(operation, ask(api, operation, found->second), 409);
            return;
        }
        Sample what{fill(operation.path, {{"key", "key_1"}}), body_for(operation.id), ""};
        what.fields = operation.documents(428) ? "If-Match: *\r\n" : "";
        note(operation, ask(there, operation, what), 409);
    });
}

TEST_F(ManageContract, OtherMethodsAndPathsAreRefusedWithWhatThereIs)
{
    const auto reply = api.ask("PUT", "/manage/projects", "{}");
    EXPECT_EQ(reply.status, 405);
    EXPECT_EQ(reply.head["allow"], "GET, HEAD, POST");
    for (const auto* target : {"/manage", "/manage/", "/manage/projects/", "/manage/nothing"}) {
        EXPECT_EQ(api.get(target).status, 404) << target;
    }
    EXPECT_EQ(api.get("/manage/projects/../projects").status, 400);
    const auto head = api.ask("HEAD", "/manage/projects");
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.body, "");
    EXPECT_NE(head.head["content-length"], "0");
}

TEST_F(ManageContract, IsOnlyOnListenersThatServeAdmin)
{
    const auto request =
        get("/manage/projects", "Authorization: Bearer " + std::string(kAdminToken) + "\r\n");
    EXPECT_EQ(proxy.ask(request, "main").status, 404);
    EXPECT_EQ(proxy.ask(request, "ops").status, 404);
    EXPECT_EQ(proxy.ask(request, "admin").status, 200);
    EXPECT_EQ(proxy.ask(get("/v1/models"), "admin").status, 404);
}
