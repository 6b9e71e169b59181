#include "llmproxy/core/number.hpp"

#include <cstdint>
#include <gtest/gtest.h>

namespace llmproxy::core {
namespace {

TEST(ParseNumber, TakesTheWholeText)
{
    EXPECT_EQ(parse_number<std::uint16_t>("65535"), 65535);
    EXPECT_EQ(parse_number<std::int64_t>("-7"), -7);
    EXPECT_EQ(parse_number<std::uint16_t>("007"), 7);
    EXPECT_EQ(parse_number<double>("0.25"), 0.25);
}

TEST(ParseNumber, RefusesEverythingElse)
{
    for (const auto* text : {"", " 1", "1 ", "+1", "-1", "1.0", "0x1", "65536", "1s"}) {
        EXPECT_EQ(parse_number<std::uint16_t>(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace llmproxy::core
