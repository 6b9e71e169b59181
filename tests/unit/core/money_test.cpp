#include "llmproxy/core/money.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <utility>

namespace llmproxy::core {
namespace {

constexpr auto kLowest = NanoUsd::lowest();

TEST(NanoUsd, ReadsDecimalsExactly)
{
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 11> kTexts{{
        {"0", 0},
        {"2", 2'000'000'000},
        {"2.50", 2'500'000'000},
        {"0.0375", 37'500'000},
        {"0.000000001", 1},
        {"0.1", 100'000'000},
        {"0.3", 300'000'000},
        {"600", 600'000'000'000},
        {"007.0", 7'000'000'000},
        {"9223372036.854775807", std::numeric_limits<std::int64_t>::max()},
        {"9223372036", 9'223'372'036'000'000'000},
    }};
    for (const auto& [text, count] : kTexts) {
        const auto read = parse_usd(text);
        ASSERT_TRUE(read) << text;
        EXPECT_EQ(read->count, count) << text;
    }
}

TEST(NanoUsd, RefusesWhatIsNoAmountOrLosesDigits)
{
    constexpr std::array<std::string_view, 18> kTexts{"",
                                                      ".",
                                                      ".5",
                                                      "1.",
                                                      "-1",
                                                      "+1",
                                                      " 1",
                                                      "1 ",
                                                      "1e3",
                                                      "0x1",
                                                      "1,5",
                                                      "1.0000000001",
                                                      "1.2.3",
                                                      "nan",
                                                      "$1",
                                                      "1.-2",
                                                      "9223372036.854775808",
                                                      "9223372037"};
    for (const auto text : kTexts) {
        EXPECT_FALSE(parse_usd(text)) << text;
    }
}

TEST(NanoUsd, WritesTheShortestTextThatReadsBack)
{
    constexpr std::array<std::pair<std::int64_t, std::string_view>, 7> kTexts{{
        {0, "0"},
        {1, "0.000000001"},
        {37'500'000, "0.0375"},
        {2'500'000'000, "2.5"},
        {600'000'000'000, "600"},
        {-1'500'000'000, "-1.5"},
        {std::numeric_limits<std::int64_t>::max(), "9223372036.854775807"},
    }};
    for (const auto& [count, text] : kTexts) {
        EXPECT_EQ(to_text(NanoUsd{count}), text);
        if (count >= 0) {
            EXPECT_EQ(parse_usd(text), NanoUsd{count});
        }
    }
    EXPECT_EQ(to_text(kLowest), "-9223372036.854775808");
}

TEST(NanoUsd, StaysAtItsBounds)
{
    EXPECT_EQ(NanoUsd::max() + NanoUsd{1}, NanoUsd::max());
    EXPECT_EQ(kLowest - NanoUsd{1}, kLowest);
    EXPECT_EQ(kLowest + kLowest, kLowest);
    EXPECT_EQ(NanoUsd::max() - kLowest, NanoUsd::max());
    EXPECT_EQ(NanoUsd::max() + kLowest, NanoUsd{-1});
    auto amount = NanoUsd{5};
    amount += NanoUsd{3};
    amount -= NanoUsd{1};
    EXPECT_EQ(amount, NanoUsd{7});
    EXPECT_LT(NanoUsd{-1}, NanoUsd{});
}

}  // namespace
}  // namespace llmproxy::core
