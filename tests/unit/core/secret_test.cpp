#include "llmproxy/core/secret.hpp"

#include <gtest/gtest.h>
#include <sstream>
#include <type_traits>

namespace llmproxy::core {
namespace {

std::string printed(const Secret& secret)
{
    std::ostringstream out;
    out << secret;
    return out.str();
}

TEST(Secret, PrintsAsThreeStars)
{
    EXPECT_EQ(printed(Secret("sk-canary-value")), "***");
    EXPECT_EQ(printed(Secret("x")), "***");
}

TEST(Secret, PrintsNothingWhenEmpty)
{
    EXPECT_EQ(printed(Secret()), "");
    EXPECT_TRUE(Secret().empty());
}

TEST(Secret, ConvertsToTextOnlyByReveal)
{
    static_assert(!std::is_convertible_v<Secret, std::string>);
    static_assert(!std::is_convertible_v<Secret, std::string_view>);
    static_assert(!std::is_convertible_v<std::string, Secret>);
    EXPECT_EQ(Secret("sk-1").reveal(), "sk-1");
}

TEST(Secret, TestFailureOutputDoesNotShowIt)
{
    EXPECT_EQ(testing::PrintToString(Secret("sk-canary-value")).find("canary"), std::string::npos);
}

TEST(Secret, ComparesByValue)
{
    EXPECT_EQ(Secret("abc"), Secret("abc"));
    EXPECT_FALSE(Secret("abc") == Secret("abd"));
    EXPECT_FALSE(Secret("abc") == Secret("ab"));
    EXPECT_EQ(Secret(), Secret(""));
}

TEST(Secret, CopiesAndMoves)
{
    Secret original("sk-long-enough-to-live-on-the-heap-0123456789");
    const Secret copy = original;
    const Secret moved = std::move(original);
    EXPECT_EQ(copy, moved);
}

TEST(EqualConstantTime, AgreesWithEquality)
{
    EXPECT_TRUE(equal_constant_time("", ""));
    EXPECT_TRUE(equal_constant_time("token", "token"));
    EXPECT_FALSE(equal_constant_time("token", "Token"));
    EXPECT_FALSE(equal_constant_time("token", "tokeN"));
    EXPECT_FALSE(equal_constant_time("token", "tokens"));
    EXPECT_FALSE(equal_constant_time("", "x"));
    EXPECT_TRUE(equal_constant_time(std::string_view("a\0b", 3), std::string_view("a\0b", 3)));
    EXPECT_FALSE(equal_constant_time(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST(DecodeKey, ReadsHexAndBase64OfExactly32Bytes)
{
    const std::string zeros(32, '\0');
    const auto hex = decode_key(std::string(64, '0'));
    ASSERT_TRUE(hex);
    EXPECT_EQ(hex->reveal(), zeros);
    const auto base64 = decode_key(std::string(43, 'A') + "=");
    ASSERT_TRUE(base64);
    EXPECT_EQ(base64->reveal(), zeros);
    EXPECT_EQ(decode_key("00fF" + std::string(60, '1'))->reveal().substr(0, 2),
              std::string("\0\xff", 2));
    for (const auto& bad : {std::string(), std::string(63, '0'), std::string(63, '0') + "g",
                            std::string(32, 'k'), std::string(40, 'A'), std::string("not a key")}) {
        EXPECT_FALSE(decode_key(bad)) << bad;
    }
}

}  // namespace
}  // namespace llmproxy::core
