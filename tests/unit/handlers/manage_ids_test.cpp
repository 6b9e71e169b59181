#include "handlers/manage/ids.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

TEST(ManageIds, AreReadAsTheyAreShown)
{
    EXPECT_EQ(to_text(core::ProjectId(7)), "proj_7");
    EXPECT_EQ(parse_project("proj_7"), core::ProjectId(7));
    EXPECT_EQ(to_text(core::TokenId(12)), "tok_12");
    EXPECT_EQ(parse_token("tok_12"), core::TokenId(12));
    EXPECT_EQ(parse_token("tok_-12"), core::TokenId(-12)) << "of the configuration";
    EXPECT_EQ(key_text(3), "key_3");
    EXPECT_EQ(parse_key("key_3"), 3);
    EXPECT_EQ(parse_project("proj_9223372036854775807"),
              core::ProjectId(std::numeric_limits<std::int64_t>::max()));
}

TEST(ManageIds, OthersAreNone)
{
    for (const auto* text : {"", "7", "proj_", "proj_0", "proj_07", "proj_-1", "proj_+1", "proj_1x",
                             "proj_ 1", "PROJ_1", "tok_1", "proj_9223372036854775808", "proj_1 "}) {
        EXPECT_EQ(parse_project(text), std::nullopt) << text;
    }
    EXPECT_EQ(parse_token("tok_-"), std::nullopt);
    EXPECT_EQ(parse_token("tok_-0"), std::nullopt);
}

TEST(ManageIds, TheAuditLogShowsThemToo)
{
    EXPECT_EQ(shown_target("project", "7"), "proj_7");
    EXPECT_EQ(shown_target("token", "7"), "tok_7");
    EXPECT_EQ(shown_target("provider_key", "7"), "key_7");
    EXPECT_EQ(shown_target("backend", "7"), "7");
    EXPECT_EQ(shown_target("project", ""), "");
    EXPECT_EQ(stored_target("tok_7"), "7");
    EXPECT_EQ(stored_target("openai"), "openai");
}

}  // namespace
}  // namespace llmproxy::handlers::manage
