#include "accounts_fixture.hpp"

#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <vector>

namespace llmproxy::accounts::test {
namespace {

using namespace std::chrono_literals;
using core::Errc;

/// Who shows a token, and what becomes of that when something changes.
class AccountsTest : public AccountsFixture {
protected:
    /// What memory says: `?` nothing, `-` no such token, else the account's name.
    std::string recalled(const std::string& text)
    {
        const auto found = accounts_->recall(text);
        return !found ? "?" : (*found ? (**found)->name() : "-");
    }
};

TEST_F(AccountsTest, KnowTheTokensOfTheConfigurationWithoutAStore)
{
    Accounts::Options options;
    options.static_accounts = {{"ci", core::sha256("secret"), nullptr}};
    Accounts accounts(std::move(options));
    const auto known = accounts.recall("secret");
    ASSERT_TRUE(known && *known);
    EXPECT_EQ((**known)->name(), "ci");
    EXPECT_EQ((**known)->project_name(), "static");
    for (const auto& text :
         {std::string("other"), std::string(), accounts::make_token().text.reveal()}) {
        const auto unknown = accounts.recall(text);
        ASSERT_TRUE(unknown);
        EXPECT_EQ(unknown->error().errc(), Errc::invalid_api_key);
        EXPECT_EQ(unknown->error().message(), "Incorrect API key provided.");
    }

    std::string fields;
    auto grant = accounts.admit(**known, Admission{"realtime"}, fields);
    ASSERT_TRUE(grant);
    ASSERT_TRUE(loop_.run(reserve_task(accounts, *grant, shape(10, {}), "unpriced", fields)));
    grant->begin_attempt({"unpriced", "openai", "openai"});
    grant->append_ratelimit_lines(fields);
    EXPECT_TRUE(loop_.run(accounts.settle(*grant, {attempt(5, 5)})));
    EXPECT_EQ(fields, "");
    EXPECT_EQ(accounts.anonymous()->name(), "anonymous");
    EXPECT_TRUE(accounts.admit(accounts.anonymous(), Admission{"other"}, fields));
}

TEST_F(AccountsTest, KnowTheTokensOfTheConfigurationBesideTheStore)
{
    static_accounts_ = {{"ci", core::sha256("secret"), nullptr}};
    begin();
    EXPECT_EQ(recalled("secret"), "ci");
    const auto token = make_token(add_project("p").id, "t");
    EXPECT_EQ(recalled(token.text), "?");
    EXPECT_EQ(account_of(token)->name(), "t");
    accounts_->replace(settings_, {{"new", core::sha256("other"), nullptr}});
    EXPECT_EQ(recalled("secret"), "-");
    EXPECT_EQ(recalled("other"), "new");
    EXPECT_EQ(recalled(token.text), "t");
}

TEST_F(AccountsTest, AskTheStoreOnceForAToken)
{
    begin();
    const auto token = make_token(add_project("p").id, "t");
    EXPECT_EQ(account_of(token)->project_name(), "p");
    EXPECT_EQ(recalled(token.text), "t");
    EXPECT_EQ(account_of(token)->name(), "t");
    EXPECT_EQ(gate_->look_ups, 1);
    EXPECT_EQ(gate_->ledgers, 2);  // of the token and of its project
}

TEST_F(AccountsTest, AskTheStoreOnceForAllThatWantTheSameToken)
{
    begin();
    const auto token = make_token(add_project("p").id, "t");
    std::promise<void> open;
    const auto gate = open.get_future().share();
    gate_->after_access = [gate] { gate.wait(); };
    std::vector<std::future<core::Result<AccountPtr>>> all;
    all.push_back(loop_.start(accounts_->look_up(token.text, core::Deadline())));
    while (gate_->look_ups == 0) {
        std::this_thread::yield();
    }
    for (int i = 0; i < 20; ++i) {
        all.push_back(loop_.start(accounts_->look_up(token.text, core::Deadline())));
    }
    open.set_value();
    for (auto& one : all) {
        const auto found = one.get();
        ASSERT_TRUE(found);
        EXPECT_EQ((*found)->name(), "t");
    }
    EXPECT_EQ(gate_->look_ups, 1);
}

TEST_F(AccountsTest, RefuseWhatIsNoTokenWithoutAskingTheStore)
{
    begin();
    for (const std::string text : {"", "llmp_", "sk-1234", "llmp_' OR 1=1 --"}) {
        EXPECT_EQ(recalled(text), "-") << text;
        EXPECT_FALSE(look_up(text));
    }
    EXPECT_EQ(gate_->look_ups, 0);
}

TEST_F(AccountsTest, RememberAnUnknownTokenForAShortTime)
{
    begin();
    const auto project = add_project("p").id;
    const auto made = accounts::make_token();
    const auto& text = made.text.reveal();
    EXPECT_EQ(look_up(text).error().errc(), Errc::invalid_api_key);
    EXPECT_EQ(recalled(text), "-");
    EXPECT_FALSE(look_up(text));
    EXPECT_EQ(gate_->look_ups, 1);
    storage::TokenRow row;
    row.project = project;
    row.name = "late";
    row.hash = made.hash;
    (void)must(store().put_token(row, by("tester")));
    EXPECT_EQ(recalled(text), "-");
    clock_->advance(5s);
    EXPECT_EQ(recalled(text), "?");
    EXPECT_EQ((*look_up(text))->name(), "late");
}

TEST_F(AccountsTest, RefuseATokenThatHasExpired)
{
    begin();
    const auto token = make_token(add_project("p").id, "t", clock_->wall() + 10s);
    EXPECT_EQ(account_of(token)->name(), "t");
    clock_->advance(10s);
    EXPECT_EQ(recalled(token.text), "-");
    const auto refused = look_up(token.text);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::invalid_api_key);
    EXPECT_EQ(refused.error().message(), "This API key has expired.");
    begin();
    EXPECT_EQ(look_up(token.text).error().message(), "This API key has expired.");
}

TEST_F(AccountsTest, RefuseARevokedTokenAtOnceAndCancelWhatItHasUnderWay)
{
    begin();
    const auto project = add_project("p").id;
    auto token = make_token(project, "t");
    const auto other = make_token(project, "other");
    const auto account = account_of(token);
    auto stream = admit(account);
    auto tunnel = admit(account, "connect", true);
    auto others = admit(account_of(other));
    ASSERT_TRUE(stream && tunnel && others);
    std::promise<void> first;
    std::promise<void> second;
    accounts_->watch(*stream, loop_.io().get_executor(), [&first] { first.set_value(); });
    accounts_->watch(*tunnel, loop_.io().get_executor(), [&second] { second.set_value(); });
    accounts_->watch(*others, loop_.io().get_executor(), [] { ADD_FAILURE() << "another token"; });
    const auto stats = accounts_->stats();
    EXPECT_EQ(stats.live, 3U);
    EXPECT_EQ(stats.tokens, 2U);
    EXPECT_EQ(stats.standings, 3U);

    token.row.revoked = clock_->wall();
    (void)must(store().put_token(token.row, by("tester")));
    EXPECT_EQ(accounts_->token_revoked(token.row.id), 2U);
    first.get_future().wait();
    second.get_future().wait();
    EXPECT_FALSE(look_up(token.text));
    EXPECT_EQ(recalled(token.text), "-");
    EXPECT_EQ(recalled(other.text), "other");
    const auto late = admit(account);  // it was looked up just before
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().errc(), Errc::invalid_api_key);
}

TEST_F(AccountsTest, CancelAtOnceWhatIsWatchedAfterTheRevocation)
{
    begin();
    const auto token = make_token(add_project("p").id, "t");
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    EXPECT_EQ(accounts_->token_revoked(token.row.id), 0U);
    std::promise<void> cancelled;
    accounts_->watch(*grant, loop_.io().get_executor(), [&cancelled] { cancelled.set_value(); });
    cancelled.get_future().wait();
}

TEST_F(AccountsTest, RefuseAndCancelAllOfADisabledProjectUntilItIsEnabledAgain)
{
    begin();
    auto project = add_project("p");
    const auto token = make_token(project.id, "t");
    auto grant = admit(account_of(token));
    ASSERT_TRUE(grant);
    std::promise<void> cancelled;
    accounts_->watch(*grant, loop_.io().get_executor(), [&cancelled] { cancelled.set_value(); });
    project.enabled = false;
    project = must(store().put_project(project, by("tester")));
    EXPECT_EQ(accounts_->project_revoked(project.id), 1U);
    cancelled.get_future().wait();
    EXPECT_FALSE(look_up(token.text));
    project.enabled = true;
    (void)must(store().put_project(project, by("tester")));
    accounts_->project_changed(project.id);
    const auto back = account_of(token);
    ASSERT_TRUE(back);
    EXPECT_FALSE(back->revoked());
    EXPECT_TRUE(admit(back));
}

TEST_F(AccountsTest, NeverKeepARowThatWasReadBeforeItWasRevoked)
{
    begin();
    auto token = make_token(add_project("p").id, "t");
    bool done = false;
    gate_->after_access = [&] {
        if (!std::exchange(done, true)) {
            // The row was read as it was; now it is revoked, before anybody has heard of it.
            token.row.revoked = clock_->wall();
            auto changed = loop_.start(store().put_token(token.row, by("tester")));
            changed.wait();
            (void)accounts_->token_revoked(token.row.id);
        }
    };
    EXPECT_FALSE(look_up(token.text));
    EXPECT_EQ(gate_->look_ups, 2);
    EXPECT_EQ(recalled(token.text), "-");
}

TEST_F(AccountsTest, TellThatTheStoreCannotBeAskedAndRememberNothingOfIt)
{
    begin();
    const auto token = make_token(add_project("p").id, "t");
    gate_->reads = false;
    EXPECT_EQ(look_up(token.text).error().errc(), Errc::store_unavailable);
    gate_->reads = true;
    EXPECT_TRUE(look_up(token.text));
}

TEST_F(AccountsTest, GiveUpALookUpAtItsDeadline)
{
    begin();
    const auto token = make_token(add_project("p").id, "t");
    const auto late = wait(
        accounts_->look_up(token.text, core::Deadline(std::chrono::steady_clock::now() - 1ms)));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().errc(), Errc::overloaded);
    EXPECT_EQ(gate_->look_ups, 0);
}

TEST_F(AccountsTest, FollowChangesOfRowsFromTheNextRequestOn)
{
    begin();
    auto project = add_project("p");
    auto token = make_token(project.id, "t");
    EXPECT_TRUE(account_of(token)->check_model("gpt-4o"));
    token.row.grants.models = {"o*"};
    token.row = must(store().put_token(token.row, by("tester")));
    EXPECT_TRUE(account_of(token)->check_model("gpt-4o"));
    accounts_->token_changed(token.row.id);
    EXPECT_FALSE(account_of(token)->check_model("gpt-4o"));
    project.grants.hosts = {"a.b"};
    project = must(store().put_project(project, by("tester")));
    accounts_->project_changed(project.id);
    EXPECT_NE(account_of(token)->hosts(), nullptr);
    EXPECT_EQ(gate_->ledgers, 2);  // what is spent was in memory all the time
}

TEST_F(AccountsTest, AreBoundedByTheSizeOfTheCache)
{
    settings_.token_cache.size = 4;
    begin();
    const auto project = add_project("p").id;
    std::vector<Token> tokens;
    for (int i = 0; i < 12; ++i) {
        tokens.push_back(make_token(project, "t" + std::to_string(i)));
        (void)account_of(tokens.back());
    }
    const auto known = std::count_if(tokens.begin(), tokens.end(), [&](const Token& token) {
        return recalled(token.text) != "?";
    });
    EXPECT_EQ(known, 4);
    for (const auto& token : tokens) {
        EXPECT_EQ(account_of(token)->name(), token.row.name);
    }
}

}  // namespace
}  // namespace llmproxy::accounts::test
