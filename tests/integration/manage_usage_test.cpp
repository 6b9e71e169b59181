// Usage by the management API: pages, filters, sums and exports of what is in SQLite.

#include "llmproxy/storage/sqlite_store.hpp"
#include "support/fake_backend.hpp"
#include "support/manage_api.hpp"
#include "unit/net/loop.hpp"

#include <gtest/gtest.h>

#include <sstream>

using namespace llmproxy;
using namespace llmproxy::test;
using nlohmann::json;

namespace {

constexpr int kRows = 1200;  // more than fit into one piece of an export

core::SystemTime at(int index)
{
    // 2026-01-31T12:00:00Z, one a minute
    return core::SystemTime(std::chrono::seconds(1'769'860'800 + 60 * index));
}

storage::UsageRow usage(int index, core::ProjectId project, core::TokenId token)
{
    storage::UsageRow row;
    row.request = core::make_uuid7(at(index));
    row.project = project;
    row.token = token;
    row.route = index % 2 == 0 ? "chat_completions" : "embeddings";
    row.backend = "b1";
    row.requested_model = index % 3 == 0 ? "=cmd|'/c calc'!A0" : "gpt-4o";
    row.served_model = "gpt-4o-2024";
    row.tokens.prompt = 10;
    row.tokens.completion = 5;
    row.cost = core::NanoUsd{1'000'000};
    row.status = 200;
    row.outcome = index % 10 == 0 ? "upstream_reset" : "ok";
    row.duration = std::chrono::milliseconds(20);
    return row;
}

template <typename T>
T must(core::Result<T> result)
{
    if (!result) {
        throw std::runtime_error(result.error().describe());
    }
    return std::move(*result);
}

/// Two projects with a token each; even rows are the first one's.
void fill(const std::string& path)
{
    net::test::Loop loop;
    storage::SqliteOptions options;
    options.settings.path = path;
    options.settings.retention = core::Duration(0);
    auto store = must(storage::open_sqlite(std::move(options)));
    std::array<core::ProjectId, 2> projects{};
    std::array<core::TokenId, 2> tokens{};
    for (std::size_t i = 0; i < 2; ++i) {
        storage::ProjectRow project;
        project.name = "p" + std::to_string(i);
        projects[i] = must(loop.run(store->put_project(project, {}))).id;
        storage::TokenRow token;
        token.project = projects[i];
        token.name = "t";
        token.hash[0] = static_cast<std::uint8_t>(i + 1);
        tokens[i] = must(loop.run(store->put_token(token, {}))).id;
    }
    for (int i = 0; i < kRows; ++i) {
        const auto who = static_cast<std::size_t>(i % 2);
        storage::Settlement settlement;
        settlement.rows.push_back(usage(i, projects[who], tokens[who]));
        if (const auto done = loop.run(store->settle(std::move(settlement))); !done) {
            throw std::runtime_error(done.error().describe());
        }
    }
}

class ManageUsage : public testing::Test {
protected:
    static void SetUpTestSuite()
    {
        dir = std::make_unique<TempDir>();
        backend = std::make_unique<FakeBackend>([](Exchange& exchange) { exchange.json("{}"); });
        fill(dir->file("store.db"));
        auto config = managed(backend->url(), "");
        config.set("store", "{ path: \"" + dir->file("store.db") + "\", retention: 0s }");
        proxy = std::make_unique<ProxyUnderTest>(config);
        api = std::make_unique<ManageApi>(*proxy);
    }
    static void TearDownTestSuite()
    {
        api.reset();
        proxy.reset();
        backend.reset();
        dir.reset();
    }
    static std::vector<std::string> lines_of(const std::string& text)
    {
        std::vector<std::string> lines;
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) {
            lines.push_back(line);
        }
        return lines;
    }

    static inline std::unique_ptr<TempDir> dir;
    static inline std::unique_ptr<FakeBackend> backend;
    static inline std::unique_ptr<ProxyUnderTest> proxy;
    static inline std::unique_ptr<ManageApi> api;
};

}  // namespace

TEST_F(ManageUsage, RowsComeNewestFirstPageByPage)
{
    std::size_t rows = 0;
    std::string last = "9999";
    std::string after;
    do {
        const auto page =
            api->read("/manage/usage?limit=500" + (after.empty() ? "" : "&after=" + after));
        for (const auto& one : page["data"]) {
            EXPECT_LT(one["time"].get<std::string>(), last);
            last = one["time"];
            ++rows;
        }
        after = page["next"].is_null() ? "" : page["next"].get<std::string>();
    } while (!after.empty());
    EXPECT_EQ(rows, static_cast<std::size_t>(kRows));
    EXPECT_EQ(last, "2026-01-31T12:00:00.000Z");
    EXPECT_EQ(api->read("/manage/usage?limit=1&order=oldest")["data"][0]["time"], last);
}

TEST_F(ManageUsage, FiltersNarrow)
{
    const auto count = [&](const std::string& query) {
        return api->read("/manage/usage?limit=1000&" + query)["data"].size();
    };
    EXPECT_EQ(count("project=proj_1"), 600U);
    EXPECT_EQ(count("token=tok_2"), 600U);
    EXPECT_EQ(count("project=proj_1&token=tok_2"), 0U);
    EXPECT_EQ(count("route=embeddings"), 600U);
    EXPECT_EQ(count("model=gpt-4o"), 800U);
    EXPECT_EQ(count("backend=other"), 0U);
    EXPECT_EQ(count("outcome=upstream_reset"), 120U);
    EXPECT_EQ(count("from=2026-01-31T12:10:00Z&to=2026-01-31T12:20:00Z"), 10U);
    EXPECT_EQ(count("from=2026-01-31T14:10:00%2B02:00&to=2026-01-31T12:20:00Z"), 10U);
    EXPECT_EQ(count("to=2026-01-31"), 0U);
    const auto one = api->read("/manage/usage?limit=1")["data"][0];
    EXPECT_EQ(count("request_id=" + one["request"].get<std::string>()), 1U);
    EXPECT_EQ(error_param(api->get("/manage/usage?project=p0")), "project");
    EXPECT_EQ(error_param(api->get("/manage/usage?from=yesterday")), "from");
}

TEST_F(ManageUsage, SumsAddUp)
{
    const auto total = api->read("/manage/usage/sums")["data"];
    ASSERT_EQ(total.size(), 1U);
    EXPECT_EQ(total[0]["attempts"], kRows);
    EXPECT_EQ(total[0]["failed"], 120);
    EXPECT_EQ(total[0]["prompt_tokens"], 10 * kRows);
    EXPECT_EQ(total[0]["cost_usd"], "1.2");
    EXPECT_FALSE(total[0].contains("project"));

    const auto groups =
        api->read("/manage/usage/sums?group_by=project,model,hour&limit=1000")["data"];
    std::int64_t attempts = 0;
    for (const auto& one : groups) {
        attempts += one["attempts"].get<std::int64_t>();
        EXPECT_TRUE(one.contains("project") && one.contains("model") && one.contains("start"));
        EXPECT_FALSE(one.contains("token"));
    }
    EXPECT_EQ(attempts, kRows);
    EXPECT_EQ(groups.size(), 2U * 2U * 20U);
    const auto first = api->read("/manage/usage/sums?group_by=day&project=proj_1")["data"];
    ASSERT_EQ(first.size(), 2U);
    EXPECT_EQ(first[0]["start"], "2026-01-31T00:00:00.000Z");
    EXPECT_EQ(error_param(api->get("/manage/usage/sums?group_by=hour,day")), "group_by");
    EXPECT_EQ(error_param(api->get("/manage/usage/sums?group_by=project,project")), "group_by");
    EXPECT_EQ(error_param(api->get("/manage/usage/sums?group_by=nothing")), "group_by[0]");
}

TEST_F(ManageUsage, TheLedgerAgreesWithTheSums)
{
    const auto spent = api->read("/manage/projects/proj_1/spend")["data"];
    ASSERT_EQ(spent.size(), 4U);
    EXPECT_EQ(spent[3]["period"], "total");
    EXPECT_EQ(spent[3]["cost_usd"], "0.6");
    EXPECT_EQ(spent[3]["tokens"], 15 * 600);
    EXPECT_EQ(spent[3]["requests"], 600);
    EXPECT_TRUE(spent[3]["end"].is_null());
    const auto days = api->read("/manage/tokens/tok_2/spend?period=day")["data"];
    ASSERT_EQ(days.size(), 2U);
    EXPECT_EQ(days[0]["start"], "2026-02-01T00:00:00.000Z") << "the newest first";
    EXPECT_EQ(days[0]["end"], "2026-02-02T00:00:00.000Z");
    EXPECT_EQ(days[0]["requests"].get<int>() + days[1]["requests"].get<int>(), 600);
}

TEST_F(ManageUsage, ExportsAllAsCsvInPieces)
{
    const auto reply = api->get("/manage/usage/export");
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.complete());
    EXPECT_GT(reply.chunks.size(), 2U);
    EXPECT_EQ(reply.head["content-type"], "text/csv; charset=utf-8");
    const auto lines = lines_of(reply.body);
    ASSERT_EQ(lines.size(), static_cast<std::size_t>(kRows) + 1);
    EXPECT_TRUE(lines[0].starts_with("time,request,attempt,request_id,project,token,route"));
    EXPECT_TRUE(lines[1].starts_with("2026-01-31T12:00:00.000Z,"));
    EXPECT_TRUE(has_text(lines[1], ",'=cmd|'/c calc'!A0,")) << "no formula: " << lines[1];
    EXPECT_TRUE(has_text(lines[2], ",proj_2,tok_2,embeddings,b1,"));
}

TEST_F(ManageUsage, ExportsAsNdjsonWhatTheListShows)
{
    const auto reply =
        api->get("/manage/usage/export?format=ndjson&project=proj_2&to=2026-01-31T12:10:00Z");
    EXPECT_EQ(reply.head["content-type"], "application/x-ndjson");
    const auto lines = lines_of(reply.body);
    const auto listed =
        api->read("/manage/usage?order=oldest&project=proj_2&to=2026-01-31T12:10:00Z")["data"];
    ASSERT_EQ(lines.size(), 5U);
    ASSERT_EQ(listed.size(), 5U);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        EXPECT_EQ(json::parse(lines[i]), listed[i]);
    }
    const auto nothing = api->get("/manage/usage/export?format=ndjson&project=proj_9");
    EXPECT_EQ(nothing.status, 200);
    EXPECT_TRUE(nothing.complete());
    EXPECT_EQ(nothing.body, "");
}

TEST_F(ManageUsage, ExportsToOldClientsUntilTheEndOfTheConnection)
{
    auto client = proxy->connect("admin");
    client.send("GET /manage/usage/export HTTP/1.0\r\nAuthorization: Bearer " +
                std::string(kAdminToken) + "\r\n\r\n");
    const auto reply = client.response();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.end, BodyEnd::closed);
    EXPECT_EQ(reply.head.count("transfer-encoding"), 0U);
    EXPECT_EQ(lines_of(reply.body).size(), static_cast<std::size_t>(kRows) + 1);
}

TEST_F(ManageUsage, AConnectionServesMoreAfterAnExport)
{
    auto client = proxy->connect("admin");
    const auto auth = "Authorization: Bearer " + std::string(kAdminToken) + "\r\n";
    EXPECT_EQ(client.ask(get("/manage/usage/export", auth)).status, 200);
    EXPECT_EQ(client.ask(get("/manage/usage/sums", auth)).status, 200);
}

TEST_F(ManageUsage, AClientThatLeavesEndsAnExport)
{
    {
        auto client = proxy->connect("admin");
        client.send(get("/manage/usage/export",
                        "Authorization: Bearer " + std::string(kAdminToken) + "\r\n"));
        client.head();
    }
    EXPECT_EQ(api->get("/manage/store").status, 200);
}
