// Backends, reload, backup and the store's state by the management API.

#include "llmproxy/storage/sqlite_store.hpp"
#include "support/fake_backend.hpp"
#include "support/manage_api.hpp"

#include <gtest/gtest.h>

#include <filesystem>

using namespace llmproxy;
using namespace llmproxy::test;
using nlohmann::json;

namespace {

class ManageOperations : public testing::Test {
protected:
    [[nodiscard]] GatewayConfig config() const
    {
        return managed(backend.url(), dir.file("store.db"));
    }
    json circuit(const std::string& action)
    {
        return json::parse(
            api.post("/manage/backends/b1/circuit", json{{"action", action}}.dump()).body);
    }
    json newest_audit() { return api.read("/manage/audit?limit=1")["data"][0]; }

    TempDir dir;
    FakeBackend backend{[](Exchange& exchange) { exchange.json("{}"); }};
    ProxyUnderTest proxy{config()};
    ManageApi api{proxy};
};

}  // namespace

TEST_F(ManageOperations, AnOperatorOpensAndResetsACircuit)
{
    EXPECT_EQ(proxy.ask(chat()).status, 200);
    const auto before = api.read("/manage/backends/b1");
    EXPECT_EQ(before["circuit"]["state"], "closed");
    EXPECT_EQ(before["connects"], 1);
    EXPECT_GT(before["first_byte_ms"].get<double>(), 0.0);

    const auto open = circuit("open");
    EXPECT_EQ(open["circuit"]["state"], "open");
    EXPECT_EQ(open["circuit"]["held"], true);
    EXPECT_EQ(open["circuit"]["history"].back()["cause"], "operator_opened");
    EXPECT_EQ(error_code(proxy.ask(chat())), "circuit_open");
    const auto entry = newest_audit();
    EXPECT_EQ(entry["action"], "backend.open");
    EXPECT_EQ(entry["target"], "b1");
    EXPECT_EQ(entry["before"]["held"], false);
    EXPECT_EQ(entry["after"]["held"], true);

    EXPECT_EQ(circuit("reset")["circuit"]["held"], false);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(ManageOperations, DrainingLetsWhatIsUnderWayEnd)
{
    const auto gate = std::make_shared<Gate>();
    backend.next([gate](Exchange& exchange) {
        gate->wait();
        exchange.json("{}");
    });
    auto client = proxy.connect();
    client.send(chat());
    ASSERT_TRUE(backend.wait_requests(1));
    const auto drained = circuit("drain");
    EXPECT_EQ(drained["in_flight"], 1);
    EXPECT_EQ(drained["circuit"]["state"], "open");
    EXPECT_EQ(proxy.ask(chat()).status, 503);
    gate->open();
    EXPECT_EQ(client.response().status, 200);
    EXPECT_EQ(newest_audit()["action"], "backend.drain");
}

TEST_F(ManageOperations, TheListShowsEveryBackend)
{
    auto more = config();
    more.backend("b2", "mock");
    proxy.reload(more);
    const auto all = api.read("/manage/backends")["data"];
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(api.read("/manage/backends/b2")["name"], "b2");
    EXPECT_EQ(api.get("/manage/backends/b3").status, 404);
    EXPECT_EQ(error_param(api.post("/manage/backends/b1/circuit", R"({"action":"explode"})")),
              "action");
}

TEST_F(ManageOperations, AReloadReadsTheFileAgain)
{
    auto more = config();
    more.backend("b2", "mock");
    more.server_key("threads", "3");
    auto text = more.yaml(std::filesystem::path(proxy.config_file()).parent_path().string());
    text.erase(text.find("  threads: 2\n"), 13);
    write_file(proxy.config_file(), text);
    const auto reply = api.post("/manage/reload");
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(json::parse(reply.body)["needs_restart"], json::array({"server.threads"}));
    EXPECT_EQ(api.read("/manage/backends")["data"].size(), 2U);
    EXPECT_EQ(newest_audit()["action"], "config.reload");
}

TEST_F(ManageOperations, ARefusedReloadTellsTheProblemsAndChangesNothing)
{
    write_file(proxy.config_file(), "server: { thread: 1 }\n");
    const auto reply = api.post("/manage/reload");
    EXPECT_EQ(reply.status, 409);
    const auto message = json::parse(reply.body)["error"]["message"].get<std::string>();
    EXPECT_TRUE(has_text(message, "server.thread")) << message;
    EXPECT_EQ(api.read("/manage/backends")["data"].size(), 1U);
    EXPECT_EQ(newest_audit()["after"]["ok"], false);
    EXPECT_EQ(proxy.ask(chat()).status, 200);
}

TEST_F(ManageOperations, AReloadChangesTheManagementTokens)
{
    auto text = read_file(proxy.config_file());
    const std::string other = "another-admin-token-0123456789";
    text.replace(text.find(kAdminToken), kAdminToken.size(), other);
    write_file(proxy.config_file(), text);
    EXPECT_EQ(api.post("/manage/reload").status, 200);
    EXPECT_EQ(api.get("/manage/backends").status, 401);
    EXPECT_EQ(ManageApi(proxy, other).get("/manage/backends").status, 200);
}

TEST_F(ManageOperations, ABackupIsAWholeStore)
{
    api.make("/manage/projects", {{"name", "kept"}});
    const auto named = api.make("/manage/backup", {{"path", "copy.db"}});
    EXPECT_EQ(named["path"], "copy.db");
    EXPECT_EQ(newest_audit()["action"], "store.backup");
    const auto unnamed = json::parse(api.post("/manage/backup").body)["path"].get<std::string>();
    EXPECT_TRUE(unnamed.starts_with("backup-20")) << unnamed;
    EXPECT_TRUE(std::filesystem::exists(dir.file(unnamed)));
    ProxyUnderTest second(managed(backend.url(), dir.file("copy.db")));
    EXPECT_EQ(ManageApi(second).read("/manage/projects")["data"][0]["name"], "kept");
}

TEST_F(ManageOperations, ABackupStaysInItsFolder)
{
    std::filesystem::create_directory(dir.file("sub"));
    EXPECT_EQ(api.post("/manage/backup", R"({"path":"sub/copy.db"})").status, 201);
    for (const auto* path :
         {"/tmp/x.db", "../x.db", "sub/../../x.db", ".hidden", "a//b", "sub/", "a b", "store.db",
          "store.db-wal", "store.db-journal", "store.db-lock", ""}) {
        const auto reply = api.post("/manage/backup", json{{"path", path}}.dump());
        EXPECT_EQ(reply.status, 400) << path << ": " << reply.body;
        EXPECT_EQ(error_param(reply), "path") << path;
    }
    EXPECT_EQ(api.post("/manage/backup", R"({"path":"nowhere/copy.db"})").status, 503);
}

TEST_F(ManageOperations, ProviderKeysAreSealedAnewWithANewMasterKey)
{
    const auto store = dir.file("keys.db");
    const std::string new_key(64, 'a');
    const std::string other_key(64, 'b');
    const auto with = [&](const std::string& current, const std::string& old) {
        auto made = managed(backend.url(), "");
        made.set("store", "{ path: \"" + store + "\", encryption_key: \"" + current +
                              "\", old_encryption_keys: [ \"" + old + "\" ] }");
        return made;
    };
    std::string sealed_with;
    {
        ProxyUnderTest first(managed(backend.url(), store));
        const ManageApi there(first);
        const auto project = there.make("/manage/projects", {{"name", "p"}})["id"];
        for (const auto* name : {"k1", "k2"}) {
            there.make("/manage/keys", {{"project", project},
                                        {"backend", "b1"},
                                        {"name", name},
                                        {"key", "sk-canary-0123456789"}});
        }
        sealed_with = there.read("/manage/keys/key_1")["master_key"];
        EXPECT_EQ(there.make("/manage/keys/reseal", nullptr),
                  (json{{"resealed", 0}, {"current", 2}}));
    }
    {
        ProxyUnderTest wrong(with(new_key, other_key));
        const ManageApi there(wrong);
        EXPECT_EQ(there.post("/manage/keys/reseal").status, 409);
        EXPECT_EQ(there.read("/manage/keys/key_1")["master_key"], sealed_with);
    }
    {
        ProxyUnderTest second(with(new_key, std::string(kMasterKey)));
        const ManageApi there(second);
        EXPECT_EQ(there.make("/manage/keys/reseal", nullptr),
                  (json{{"resealed", 2}, {"current", 0}}));
        EXPECT_NE(there.read("/manage/keys/key_1")["master_key"], sealed_with);
        EXPECT_EQ(there.read("/manage/audit?limit=1")["data"][0]["action"], "provider_key.reseal");
    }
    ProxyUnderTest third(with(new_key, other_key));
    EXPECT_EQ(ManageApi(third).make("/manage/keys/reseal", nullptr),
              (json{{"resealed", 0}, {"current", 2}}));
}

TEST_F(ManageOperations, WithoutAStoreTheRestWorks)
{
    ProxyUnderTest storeless(managed(backend.url(), ""));
    const ManageApi there(storeless);
    EXPECT_EQ(there.get("/manage/projects").status, 503);
    EXPECT_EQ(error_code(there.get("/manage/projects")), "store_unavailable");
    EXPECT_EQ(there.get("/manage/backends").status, 200);
    EXPECT_EQ(there.post("/manage/backends/b1/circuit", R"({"action":"open"})").status, 200);
    EXPECT_EQ(there.post("/manage/reload").status, 200);
    EXPECT_TRUE(has_text(storeless.diagnostics(), "backend.open"));
}

TEST_F(ManageOperations, ABodyInPiecesIsBoundedToo)
{
    auto client = proxy.connect("admin");
    client.send("POST /manage/projects HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                "Transfer-Encoding: chunked\r\nAuthorization: Bearer " +
                std::string(kAdminToken) + "\r\n\r\n");
    for (int i = 0; i < 9; ++i) {
        client.send(as_chunk(std::string(16'000, ' ')));
    }
    EXPECT_EQ(client.response().status, 413);

    auto good = proxy.connect("admin");
    good.send("POST /manage/projects HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
              "Transfer-Encoding: chunked\r\nAuthorization: Bearer " +
              std::string(kAdminToken) + "\r\n\r\n" + as_chunk("{\"name\":") + as_chunk("\"p\"}") +
              "0\r\n\r\n");
    EXPECT_EQ(good.response().status, 201);
    EXPECT_EQ(
        good.ask(get("/manage/store", "Authorization: Bearer " + std::string(kAdminToken) + "\r\n"))
            .status,
        200)
        << "the connection goes on";
}

TEST_F(ManageOperations, TheAccessLogNamesTheTokenAndNeverShowsIt)
{
    const auto reply = api.get("/manage/backends");
    const auto line = proxy.access_line(reply);
    EXPECT_EQ(line["route"], "manage");
    EXPECT_EQ(line["token"], "admin");
    const ManageApi wrong(proxy, "canary-guess-0123456789");
    proxy.access_line(wrong.get("/manage/backends"));
    for (const auto& secret : {std::string(kAdminToken), std::string("canary-guess-0123456789")}) {
        EXPECT_FALSE(has_text(proxy.access_log() + proxy.diagnostics() + proxy.metrics(), secret));
    }
}
