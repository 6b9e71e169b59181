#include "llmproxy/accounts/account.hpp"

#include "access.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>

namespace llmproxy::accounts {
namespace {

using namespace std::chrono_literals;
using Texts = std::vector<std::string>;

bool grants(const storage::TokenAccess& row, std::string_view model)
{
    return test::account(row)->check_model(model).has_value();
}

bool reaches(const Account& account, std::string_view host)
{
    if (!account.hosts()) {
        return true;
    }
    const auto parsed = core::Host::parse(host);
    for (const auto& pattern : *account.hosts()) {
        if (pattern.covers(*parsed)) {
            return true;
        }
    }
    return false;
}

TEST(Account, KnowsWhoItIs)
{
    const auto account = test::account(7, 3);
    EXPECT_EQ(account->token(), core::TokenId{7});
    EXPECT_EQ(account->project(), core::ProjectId{3});
    EXPECT_EQ(account->name(), "token 7");
    EXPECT_EQ(account->project_name(), "project 3");
    EXPECT_TRUE(account->stored());
    EXPECT_EQ(account->token_standing()->subject(), storage::Subject(core::TokenId{7}));
}

TEST(Account, OfTheConfigurationBelongsToTheStaticProjectAndHasNoLimits)
{
    const Account account(StaticAccount{"ci", {}, nullptr});
    EXPECT_EQ(account.name(), "ci");
    EXPECT_EQ(account.project_name(), "static");
    EXPECT_EQ(account.project(), core::ProjectId::none);
    EXPECT_EQ(account.token(), static_token_id("ci"));
    EXPECT_LT(account.token(), core::TokenId::none);
    EXPECT_NE(static_token_id("ci"), static_token_id("cd"));
    EXPECT_FALSE(account.stored() || account.revoked() || account.expired(core::SystemTime::max()));
    EXPECT_EQ(account.token_standing(), nullptr);
    EXPECT_EQ(account.project_standing(), nullptr);
    EXPECT_TRUE(account.check_model("anything"));
    EXPECT_TRUE(account.check_route("realtime"));
    EXPECT_EQ(account.hosts(), nullptr);
}

TEST(Account, MayUseModelsThatTokenAndProjectGrant)
{
    auto row = test::access(1, 1);
    EXPECT_TRUE(grants(row, "anything"));
    row.project.grants.models = {"gpt-*", "o3"};
    EXPECT_TRUE(grants(row, "gpt-4o"));
    EXPECT_TRUE(grants(row, "o3"));
    EXPECT_FALSE(grants(row, "o3-mini"));
    row.token.grants.models = {"*-mini"};
    EXPECT_TRUE(grants(row, "gpt-4o-mini"));
    EXPECT_FALSE(grants(row, "gpt-4o"));
    EXPECT_FALSE(grants(row, "o3-mini"));
    const auto refused = test::account(row)->check_model("o3");
    EXPECT_EQ(refused.error().errc(), core::Errc::model_not_allowed);
    EXPECT_EQ(refused.error().param(), "model");
}

TEST(Account, MayUseTheUsualRoutesOrThoseThatAreNamed)
{
    auto row = test::access(1, 1);
    const auto may = [&](std::string_view route) {
        return test::account(row)->check_route(route).has_value();
    };
    for (const auto* route : {"chat_completions", "completions", "embeddings", "responses",
                              "models", "connect", "forward"}) {
        EXPECT_TRUE(may(route)) << route;
    }
    EXPECT_FALSE(may("other"));
    EXPECT_FALSE(may("realtime"));
    row.token.grants.routes = {"other", "chat_completions"};
    EXPECT_TRUE(may("other"));
    EXPECT_TRUE(may("chat_completions"));
    EXPECT_FALSE(may("embeddings"));
    row.project.grants.routes = {"other", "embeddings"};
    EXPECT_TRUE(may("other"));
    EXPECT_FALSE(may("chat_completions"));
    EXPECT_FALSE(may("embeddings"));
    row.token.grants.routes.clear();
    EXPECT_TRUE(may("embeddings"));
    EXPECT_EQ(test::account(row)->check_route("models").error().errc(),
              core::Errc::route_not_allowed);
}

TEST(Account, GoesWhereTokenAndProjectBothLetIt)
{
    struct Case {
        Texts token;
        Texts project;
        Texts reached;
        Texts refused;
    };
    const std::array kCases{
        Case{{}, {}, {"a.b", "1.2.3.4"}, {}},
        Case{{"*.a.b"}, {}, {"x.a.b"}, {"a.b", "c.d"}},
        Case{{}, {"a.b"}, {"a.b"}, {"x.a.b"}},
        Case{{"*.a.b", "c.d"},
             {"x.a.b", "*.y.a.b", "e.f"},
             {"x.a.b", "z.y.a.b"},
             {"c.d", "e.f", "z.a.b"}},
        Case{{"*"}, {"a.b"}, {"a.b"}, {"c.d"}},
        Case{{"a.b"}, {"c.d"}, {}, {"a.b", "c.d"}},
        Case{{"not a host"}, {}, {}, {"a.b"}},
        Case{{"a.b:8443"}, {"a.b"}, {}, {"a.b"}},
    };
    for (const auto& one : kCases) {
        auto row = test::access(1, 1);
        row.token.grants.hosts = one.token;
        row.project.grants.hosts = one.project;
        const auto account = test::account(row);
        for (const auto& host : one.reached) {
            EXPECT_TRUE(reaches(*account, host)) << host;
        }
        for (const auto& host : one.refused) {
            EXPECT_FALSE(reaches(*account, host)) << host;
        }
    }
}

TEST(Account, Expires)
{
    const core::ManualClock clock;
    auto row = test::access(1, 1);
    EXPECT_FALSE(test::account(row)->expired(clock.wall()));
    row.token.expires = clock.wall();
    EXPECT_TRUE(test::account(row)->expired(clock.wall()));
    EXPECT_FALSE(test::account(row)->expired(clock.wall() - 1ms));
}

TEST(Account, IsRevokedWithItsTokenOrItsProjectAndOnlyIfLoadedBefore)
{
    const auto row = test::access(1, 1);
    const auto token = std::make_shared<Standing>(row.token.id);
    const auto project = std::make_shared<Standing>(row.project.id);
    const Account before(row, 4, token, project);
    const Account after(row, 5, token, project);
    EXPECT_FALSE(before.revoked());
    token->revoke(5);
    EXPECT_TRUE(before.revoked());
    EXPECT_FALSE(after.revoked());
    project->revoke(6);
    EXPECT_TRUE(after.revoked());
}

TEST(Standing, FollowsItsRowsAndNoOlderOnes)
{
    Standing standing(core::TokenId{1});
    storage::BudgetRow budget;
    budget.cost = core::NanoUsd{5};
    standing.configure(3, {}, std::array{budget}, 0);
    EXPECT_TRUE(standing.budget.bounds_money());
    standing.configure(2, {}, {}, 0);
    EXPECT_TRUE(standing.budget.bounds_money());
    standing.configure(3, {}, {}, 0);
    EXPECT_FALSE(standing.budget.bounds_money());
}

}  // namespace
}  // namespace llmproxy::accounts
