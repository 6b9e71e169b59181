#include "handlers/manage/route.hpp"

#include <gtest/gtest.h>

#include <set>

namespace llmproxy::handlers::manage {
namespace {

using http::Verb;

/// A path of the route, with a value for each parameter.
std::string sample_path(const Route& route)
{
    std::string path(route.path);
    for (const auto name : route.path_parameters()) {
        const auto braced = "{" + std::string(name) + "}";
        path.replace(path.find(braced), braced.size(), "value-1");
    }
    return path;
}

TEST(ManageRoutes, EveryRouteIsFoundByItsPath)
{
    for (const auto& route : routes()) {
        const auto found = match(route.verb, sample_path(route));
        EXPECT_EQ(found.route, &route) << route.operation;
        EXPECT_EQ(found.parameters,
                  std::vector<std::string>(route.path_parameters().size(), "value-1"));
    }
}

TEST(ManageRoutes, APathWithoutParametersWins)
{
    const auto found = match(Verb::get, "/manage/requests/tail");
    ASSERT_NE(found.route, nullptr);
    EXPECT_EQ(found.route->operation, "tailRequests");
    EXPECT_EQ(found.allow, "GET, HEAD");
}

TEST(ManageRoutes, EveryRouteIsWhole)
{
    std::set<std::string_view> operations;
    for (const auto& route : routes()) {
        EXPECT_TRUE(operations.insert(route.operation).second) << route.operation;
        EXPECT_NE(route.answer, nullptr) << route.operation;
        EXPECT_FALSE(route.summary.empty()) << route.operation;
        const int bodies = (route.response != nullptr ? 1 : 0) + (route.media.empty() ? 0 : 1);
        EXPECT_EQ(bodies, route.status == 204 ? 0 : 1) << route.operation;
        EXPECT_EQ(route.changes, route.verb != Verb::get && route.operation != "explain")
            << route.operation;
        EXPECT_EQ(route.conditional, route.verb == Verb::patch || route.verb == Verb::put)
            << route.operation;
    }
}

TEST(ManageRoutes, HeadIsServedByWhatServesGet)
{
    const auto found = match(Verb::head, "/manage/projects");
    ASSERT_NE(found.route, nullptr);
    EXPECT_EQ(found.route->verb, Verb::get);
}

TEST(ManageRoutes, TellsWhichMethodsAPathHas)
{
    const auto found = match(Verb::put, "/manage/projects");
    EXPECT_EQ(found.route, nullptr);
    EXPECT_EQ(found.allow, "GET, HEAD, POST");
    EXPECT_EQ(match(Verb::get, "/manage/reload").allow, "POST");
    EXPECT_EQ(match(Verb::post, "/manage/tokens/tok_1").allow, "GET, HEAD, PATCH, DELETE");
}

TEST(ManageRoutes, NothingIsAtOtherPaths)
{
    for (const auto* path :
         {"/manage", "/manage/", "/manage/projects/", "/manage/projects/proj_1/",
          "/manage/projects/proj_1/nothing", "/manage/project", "/manage/projectsx",
          "/Manage/projects", "/manage/projects/proj_1/limits/x", "/", "", "/v1/models",
          "/manage/openapi"}) {
        EXPECT_TRUE(match(Verb::get, path).allow.empty()) << path;
    }
}

TEST(ManagePrecondition, MatchesStrongTagsOfOurMaking)
{
    EXPECT_TRUE(Precondition::parse("\"7\"").allows(7));
    EXPECT_TRUE(Precondition::parse("\"6\" , \"7\"").allows(7));
    EXPECT_TRUE(Precondition::parse("*").allows(7));
    for (const auto* value : {"\"8\"", "7", "W/\"7\"", "\"7", "\"x\"", "\"\"", "\"7 \"", "\"-\""}) {
        EXPECT_TRUE(Precondition::parse(value).given()) << value;
        EXPECT_FALSE(Precondition::parse(value).allows(7)) << value;
        EXPECT_EQ(Precondition::parse(value).check(7).error().errc(),
                  core::Errc::precondition_failed);
    }
    for (const auto* value : {"", "  "}) {
        EXPECT_FALSE(Precondition::parse(value).given());
        EXPECT_TRUE(Precondition::parse(value).allows(7)) << "where nothing is asked for";
    }
}

}  // namespace
}  // namespace llmproxy::handlers::manage
