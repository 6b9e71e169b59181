#include "config/expand.hpp"

#include <gtest/gtest.h>

namespace llmproxy::config {
namespace {

const Environment kVariables{{"A", "1"}, {"B", "two"}, {"EMPTY", ""}, {"_x9", "${A}"}};

TEST(Expand, ReplacesVariables)
{
    EXPECT_EQ(expand("${A}", kVariables).text, "1");
    EXPECT_EQ(expand("x${A}y${B}z", kVariables).text, "x1ytwoz");
    EXPECT_EQ(expand("${EMPTY}", kVariables).text, "");
    EXPECT_EQ(expand("no $A {A} $", kVariables).text, "no $A {A} $");
}

TEST(Expand, TakesTheDefaultOfAnUnsetOrEmptyVariable)
{
    EXPECT_EQ(expand("${NO:-d}", kVariables).text, "d");
    EXPECT_EQ(expand("${EMPTY:-d}", kVariables).text, "d");
    EXPECT_EQ(expand("${A:-d}", kVariables).text, "1");
    EXPECT_EQ(expand("${NO:-}", kVariables).text, "");
    EXPECT_EQ(expand("${NO:-http://h:1/:-x}", kVariables).text, "http://h:1/:-x");
}

TEST(Expand, DoesNotExpandTwice)
{
    EXPECT_EQ(expand("${_x9}", kVariables).text, "${A}");
    EXPECT_EQ(expand("$${A}", kVariables).text, "${A}");
}

TEST(Expand, NamesTheFirstUnsetVariable)
{
    EXPECT_EQ(expand("${A}${NO}${NEITHER}", kVariables).unset, "NO");
    EXPECT_EQ(expand("${NO:-x}", kVariables).unset, "");
}

TEST(Expand, RefusesWhatIsNoReference)
{
    for (const auto* text : {"${", "${}", "${A", "${1A}", "${A B}", "${A-b}", "${:-x}"}) {
        EXPECT_TRUE(expand(text, kVariables).malformed) << text;
    }
}

}  // namespace
}  // namespace llmproxy::config
