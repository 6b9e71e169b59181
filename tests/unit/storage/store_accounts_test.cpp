#include "store_fixture.hpp"

#include <gmock/gmock.h>
#include <set>

namespace llmproxy::storage {
namespace {

using namespace std::chrono_literals;
using core::Errc;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class StoreAccounts : public test::StoreFixture {
protected:
    StoreAccounts() { open(); }

    template <typename T>
    static Errc errc_of(const core::Result<T>& result)
    {
        return result ? Errc::none : result.error().errc();
    }

    std::vector<AuditRow> audit() { return must(store().audit({}, PageRequest(1000))).rows; }
};

TEST_F(StoreAccounts, KeepsAProjectAndItsChanges)
{
    ProjectRow row;
    row.name = "alpha";
    row.grants = {{"gpt-*", "o1"}, {"*.openai.com"}, {"embeddings"}};
    const auto made = must(store().put_project(row, by("root")));
    EXPECT_NE(made.id, core::ProjectId::none);
    EXPECT_EQ(made.version, 1);
    EXPECT_EQ(made.created, clock_->wall());
    EXPECT_EQ(must(store().project(made.id)), made);
    EXPECT_EQ(must(store().project_named("alpha")), made);

    clock_->advance(1h);
    auto changed = made;
    changed.name = "beta";
    changed.enabled = false;
    const auto stored = must(store().put_project(changed, by("root")));
    EXPECT_EQ(stored.version, 2);
    EXPECT_EQ(stored.created, made.created);
    EXPECT_EQ(stored.updated, clock_->wall());
    EXPECT_EQ(must(store().project(made.id)), stored);
    EXPECT_FALSE(must(store().project_named("alpha")));

    EXPECT_EQ(errc_of(wait(store().put_project(changed, by("late")))), Errc::precondition_failed);
    changed.version = 0;
    EXPECT_EQ(must(store().put_project(changed, by("any"))).version, 3);
    changed.id = static_cast<core::ProjectId>(999);
    EXPECT_EQ(errc_of(wait(store().put_project(changed, by("lost")))), Errc::not_found);

    EXPECT_TRUE(must(store().remove_project(made.id, by("root"))));
    EXPECT_FALSE(must(store().remove_project(made.id, by("root"))));
    EXPECT_FALSE(must(store().project(made.id)));
    EXPECT_NE(add_project("gamma").id, made.id) << "an id is never given again";
}

TEST_F(StoreAccounts, NamesAreUniqueAndTheFailureTellsWhich)
{
    const auto alpha = add_project("alpha");
    ProjectRow twin;
    twin.name = "alpha";
    const auto refused = wait(store().put_project(twin, by("root")));
    ASSERT_EQ(errc_of(refused), Errc::conflict);
    EXPECT_EQ(refused.error().param(), "name");

    auto beta = add_project("beta");
    beta.name = "alpha";
    EXPECT_EQ(errc_of(wait(store().put_project(beta, by("root")))), Errc::conflict);
    EXPECT_EQ(must(store().project(beta.id))->name, "beta");

    const auto token = add_token(alpha.id, "ci");
    auto same_hash = token;
    same_hash.id = core::TokenId::none;
    same_hash.name = "other";
    const auto taken = wait(store().put_token(same_hash, by("root")));
    ASSERT_EQ(errc_of(taken), Errc::conflict);
    EXPECT_EQ(taken.error().param(), "hash");
    auto same_name = same_hash;
    same_name.name = "ci";
    same_name.hash.fill(0xee);
    EXPECT_EQ(errc_of(wait(store().put_token(same_name, by("root")))), Errc::conflict);
    same_name.project = beta.id;
    EXPECT_EQ(errc_of(wait(store().put_token(same_name, by("root")))), Errc::none)
        << "another project may use the name";
    same_name.project = static_cast<core::ProjectId>(999);
    same_name.hash.fill(0xed);
    EXPECT_EQ(errc_of(wait(store().put_token(same_name, by("root")))), Errc::not_found);
}

TEST_F(StoreAccounts, RefusedChangeLeavesThoseCommittedWithItAlone)
{
    add_project("taken");
    std::vector<std::future<core::Result<ProjectRow>>> waits;
    for (int i = 0; i < 60; ++i) {
        ProjectRow row;
        row.name = i % 3 == 0 ? "taken" : "project " + std::to_string(i);
        waits.push_back(loop_.start(store().put_project(row, by("root"))));
    }
    for (int i = 0; i < 60; ++i) {
        EXPECT_EQ(errc_of(waits[static_cast<std::size_t>(i)].get()),
                  i % 3 == 0 ? Errc::conflict : Errc::none);
    }
    EXPECT_THAT(must(store().projects(PageRequest(1000))).rows, SizeIs(41));
    EXPECT_THAT(audit(), SizeIs(41)) << "and what did not happen is not in the audit log";
}

TEST_F(StoreAccounts, FindsATokenByItsHashWithAllThatDecidesAboutIt)
{
    const auto project = add_project("alpha");
    auto token = add_token(project.id, "ci");
    token.expires = clock_->wall() + 24h;
    token.grants.models = {"gpt-4o"};
    token = must(store().put_token(token, by("root")));
    LimitRow all;
    all.requests_per_minute = 60;
    all.tunnels = 0;
    LimitRow embeddings;
    embeddings.route = "embeddings";
    embeddings.tokens_per_minute = 1'000'000;
    const std::vector<LimitRow> limits{all, embeddings};
    BudgetRow month;
    month.cost = core::NanoUsd{5'000'000'000};
    month.soft_percents = {50, 90};
    const std::vector<BudgetRow> budgets{month};
    must(store().set_limits(token.id, token.version, limits, by("root")));
    must(store().set_budgets(project.id, 0, budgets, by("root")));

    const auto access = must(store().access(token.hash));
    ASSERT_TRUE(access);
    token.version = 3;
    EXPECT_EQ(access->token, token);
    EXPECT_EQ(access->project.name, "alpha");
    EXPECT_EQ(access->project.version, 2) << "a budget is a change of its subject";
    EXPECT_EQ(access->token_limits, limits);
    EXPECT_THAT(access->project_limits, IsEmpty());
    EXPECT_THAT(access->token_budgets, IsEmpty());
    EXPECT_EQ(access->project_budgets, budgets);

    token.revoked = clock_->wall();
    token.version = 0;
    must(store().put_token(token, by("root")));
    EXPECT_EQ(must(store().access(token.hash))->token.revoked, clock_->wall());

    TokenHash unknown{};
    EXPECT_FALSE(must(store().access(unknown)));
    EXPECT_TRUE(must(store().remove_token(token.id, by("root"))));
    EXPECT_FALSE(must(store().access(token.hash)));
    EXPECT_THAT(must(store().limits(token.id)), IsEmpty());
}

TEST_F(StoreAccounts, ReplacesLimitsAndBudgetsAsAWhole)
{
    const auto project = add_project("alpha");
    LimitRow one;
    one.concurrent_requests = 5;
    LimitRow two;
    two.route = "embeddings";
    two.bytes_per_minute = 1;
    EXPECT_EQ(must(store().set_limits(project.id, 1, {one, two}, by("root"))), 2);
    EXPECT_EQ(errc_of(wait(store().set_limits(project.id, 1, {one}, by("root")))),
              Errc::precondition_failed);
    EXPECT_EQ(errc_of(wait(store().set_limits(project.id, 0, {one, one}, by("root")))),
              Errc::conflict);
    EXPECT_THAT(must(store().limits(project.id)), ElementsAre(one, two));
    EXPECT_EQ(must(store().set_limits(project.id, 2, {two}, by("root"))), 3);
    EXPECT_THAT(must(store().limits(project.id)), ElementsAre(two));
    EXPECT_EQ(errc_of(wait(store().set_limits(static_cast<core::TokenId>(9), 0, {}, by("root")))),
              Errc::not_found);

    BudgetRow day;
    day.period = PeriodKind::day;
    day.tokens = 100;
    EXPECT_EQ(must(store().set_budgets(project.id, 3, {day}, by("root"))), 4);
    EXPECT_THAT(must(store().budgets(project.id)), ElementsAre(day));
    EXPECT_EQ(must(store().set_budgets(project.id, 4, {}, by("root"))), 5);
    EXPECT_THAT(must(store().budgets(project.id)), IsEmpty());
}

TEST_F(StoreAccounts, RemovingAProjectTakesAllOfItButItsUsage)
{
    const auto doomed = add_project("doomed");
    const auto spared = add_project("spared");
    const auto token = add_token(doomed.id, "ci");
    const auto other = add_token(spared.id, "ci");
    LimitRow limit;
    limit.tunnels = 1;
    for (const Subject subject : {Subject(doomed.id), Subject(token.id), Subject(other.id)}) {
        must(store().set_limits(subject, 0, {limit}, by("root")));
    }
    ResourceRow file;
    file.project = doomed.id;
    file.kind = "file";
    file.id = "file-1";
    must(store().put_resource(file));
    const auto row = usage_row(doomed.id, token.id, 50);
    ASSERT_TRUE(settle({}, row));

    ASSERT_TRUE(must(store().remove_project(doomed.id, by("root"))));
    EXPECT_FALSE(must(store().token(token.id)));
    EXPECT_THAT(must(store().limits(doomed.id)), IsEmpty());
    EXPECT_THAT(must(store().limits(token.id)), IsEmpty());
    EXPECT_FALSE(must(store().resource(doomed.id, "file", "file-1")));
    EXPECT_THAT(must(store().limits(other.id)), ElementsAre(limit));
    EXPECT_TRUE(must(store().token(other.id)));
    EXPECT_THAT(all_usage(), ElementsAre(row));
    EXPECT_EQ(spent(doomed.id, PeriodKind::total).cost.count, 50);
    ASSERT_TRUE(settle({}, usage_row(doomed.id, token.id, 60)))
        << "what was under way still counts";
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(StoreAccounts, KeepsSealedKeysAsBytesAndReplacesThemAllOrNone)
{
    const auto project = add_project("alpha");
    std::vector<ProviderKeyRow> keys;
    for (const auto* name : {"one", "two"}) {
        ProviderKeyRow key;
        key.project = project.id;
        key.backend = "openai";
        key.name = name;
        key.master_key = "2024-01";
        key.sealed = std::string("\0\xff\x01 sealed", 10);
        key.hint = "wxyz";
        keys.push_back(must(store().put_provider_key(key, by("root"))));
    }
    EXPECT_EQ(must(store().provider_key(keys[0].id)), keys[0]);
    EXPECT_THAT(must(store().provider_keys(project.id, {})).rows, ElementsAre(keys[0], keys[1]));
    EXPECT_THAT(must(store().provider_keys(std::nullopt, PageRequest(1, true))).rows,
                ElementsAre(keys[1]));

    auto fresh = keys;
    fresh[0].sealed = "new one";
    fresh[1].sealed = "new two";
    fresh[1].version = 77;
    EXPECT_EQ(errc_of(wait(store().replace_provider_keys(fresh, by("root")))),
              Errc::precondition_failed);
    EXPECT_EQ(must(store().provider_key(keys[0].id)), keys[0]) << "all or none";
    fresh[1].version = 1;
    must(store().replace_provider_keys(fresh, by("root", "provider_key.reencrypt")));
    EXPECT_EQ(must(store().provider_key(keys[1].id))->sealed, "new two");
    EXPECT_EQ(must(store().provider_key(keys[1].id))->version, 2);
    EXPECT_TRUE(must(store().remove_provider_key(keys[0].id, by("root"))));
    EXPECT_FALSE(must(store().remove_provider_key(keys[0].id, by("root"))));
}

TEST_F(StoreAccounts, ShowsAResourceToItsProjectOnly)
{
    const auto mine = add_project("mine");
    const auto theirs = add_project("theirs");
    ResourceRow row;
    row.project = mine.id;
    row.kind = "file";
    row.id = "file-abc";
    row.backend = "openai";
    row.key = "k1";
    row.created = clock_->wall();
    must(store().put_resource(row));
    EXPECT_EQ(must(store().resource(mine.id, "file", "file-abc")), row);
    EXPECT_FALSE(must(store().resource(theirs.id, "file", "file-abc")));
    EXPECT_FALSE(must(store().resource(mine.id, "batch", "file-abc")));
    EXPECT_THAT(must(store().resources(theirs.id, "file", {})).rows, IsEmpty());
    EXPECT_FALSE(must(store().remove_resource(theirs.id, "file", "file-abc")));
    row.backend = "azure";
    must(store().put_resource(row));
    EXPECT_THAT(must(store().resources(mine.id, "file", {})).rows, ElementsAre(row));
    EXPECT_TRUE(must(store().remove_resource(mine.id, "file", "file-abc")));
    row.project = static_cast<core::ProjectId>(999);
    EXPECT_EQ(errc_of(wait(store().put_resource(row))), Errc::not_found);
}

TEST_F(StoreAccounts, NotesEachChangeInTheAuditLog)
{
    const auto project = add_project("alpha");
    clock_->advance(1min);
    AuditRow audit_row = by("admin@example", "project.update");
    audit_row.source = "10.0.0.9";
    audit_row.target_kind = "project";
    audit_row.before = R"({"name":"alpha"})";
    audit_row.after = R"({"name":"beta"})";
    auto changed = project;
    changed.name = "beta";
    must(store().put_project(changed, audit_row));
    must(store().append_audit(by("root", "config.reload")));

    const auto rows = audit();
    ASSERT_THAT(rows, SizeIs(3));
    EXPECT_EQ(rows[0].target, std::to_string(static_cast<std::int64_t>(project.id)));
    EXPECT_EQ(rows[1].actor, "admin@example");
    EXPECT_EQ(rows[1].before, audit_row.before);
    EXPECT_EQ(rows[1].time, clock_->wall());
    EXPECT_EQ(rows[2].action, "config.reload");

    AuditFilter filter;
    filter.action = "project.update";
    filter.from = clock_->wall();
    EXPECT_THAT(must(store().audit(filter, {})).rows, ElementsAre(rows[1]));
    filter.actor = "nobody";
    EXPECT_THAT(must(store().audit(filter, {})).rows, IsEmpty());
    EXPECT_THAT(must(store().audit({}, PageRequest(2, true))).rows, ElementsAre(rows[2], rows[1]));
}

TEST_F(StoreAccounts, PagesGiveEveryRowOnceEitherWay)
{
    const auto project = add_project("alpha");
    for (int i = 0; i < 23; ++i) {
        add_token(project.id, "token " + std::to_string(i));
        if (i % 2 == 0) {
            add_token(add_project("p" + std::to_string(i)).id, "x");
        }
    }
    for (const bool newest : {false, true}) {
        PageRequest page(5, newest);
        std::vector<std::string> names;
        do {
            auto part = must(store().tokens(project.id, page));
            EXPECT_LE(part.rows.size(), 5U);
            for (auto& row : part.rows) {
                names.push_back(row.name);
            }
            page.cursor = part.next;
        } while (!page.cursor.empty());
        ASSERT_THAT(names, SizeIs(23));
        EXPECT_EQ(names[newest ? 22 : 0], "token 0");
        EXPECT_EQ(std::set(names.begin(), names.end()).size(), 23U);
    }
    EXPECT_THAT(must(store().tokens(std::nullopt, PageRequest(1000))).rows, SizeIs(35));
    EXPECT_THAT(must(store().projects(PageRequest(0))).rows, SizeIs(1)) << "at least one";
    for (const auto* bad : {"x", "1x", "-", "99999999999999999999"}) {
        PageRequest page;
        page.cursor = bad;
        const auto refused = wait(store().projects(page));
        ASSERT_EQ(errc_of(refused), Errc::bad_request);
        EXPECT_EQ(refused.error().param(), "cursor");
        EXPECT_EQ(errc_of(wait(store().usage({}, page))), Errc::bad_request);
        EXPECT_EQ(errc_of(wait(store().usage_sums({}, page))), Errc::bad_request);
    }
}

TEST_F(StoreAccounts, AnyTextIsANameAndNoneIsSql)
{
    std::string every;
    for (int i = 0; i < 256; ++i) {
        every += static_cast<char>(i);
    }
    const std::string names[] = {"'; DROP TABLE projects; --",
                                 "\" OR 1=1 --",
                                 "100%_[a-z]*\\",
                                 "?1 :name @x $y",
                                 "",
                                 std::string("a\0b", 3),
                                 std::string("a\0c", 3),
                                 std::string(10'240, '\''),
                                 "\xE2\x80\xAE\xF0\x9F\x92\xA9 \xC3\xA9 e\xCC\x81",
                                 every};
    for (const auto& name : names) {
        auto project = add_project(name);
        const auto token = add_token(project.id, name);
        EXPECT_EQ(must(store().project_named(name)), project);
        EXPECT_EQ(must(store().token(token.id))->name, name);
        auto row = usage_row(project.id, token.id);
        row.requested_model = row.served_model = row.request_id = row.host = name;
        ASSERT_TRUE(settle({}, row));
        UsageFilter filter;
        filter.requested_model = name;
        filter.served_model = name;
        EXPECT_THAT(must(store().usage(filter, {})).rows, ElementsAre(row));
        ResourceRow resource;
        resource.project = project.id;
        resource.kind = resource.id = name;
        must(store().put_resource(resource));
        EXPECT_EQ(must(store().resource(project.id, name, name)), resource);
        AuditFilter of_actor;
        of_actor.actor = name;
        must(store().append_audit(by(name, name)));
        EXPECT_THAT(must(store().audit(of_actor, {})).rows, SizeIs(1));
    }
    EXPECT_THAT(must(store().projects({})).rows, SizeIs(std::size(names)));
    EXPECT_FALSE(must(store().project_named("%")));

    ProjectRow listed;
    listed.name = "lists";
    listed.grants.models = {"\xff\xfe"};
    const auto refused = wait(store().put_project(listed, by("root")));
    ASSERT_EQ(errc_of(refused), Errc::bad_request);
    EXPECT_EQ(refused.error().param(), "models");
    listed.grants.models = {"quote\" and \\ and \n", std::string("nul\0", 4), "",
                            "\xF0\x9F\x92\xA9"};
    EXPECT_EQ(must(store().put_project(listed, by("root"))).grants, listed.grants);
    EXPECT_EQ(must(store().project_named("lists"))->grants, listed.grants);
    close();
    EXPECT_THAT(problems(), IsEmpty());
}

}  // namespace
}  // namespace llmproxy::storage
