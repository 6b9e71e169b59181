#include "llmproxy/accounts/token_text.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace llmproxy::accounts {
namespace {

TEST(TokenText, HasItsFormHashAndPrefix)
{
    for (int i = 0; i < 1000; ++i) {
        const auto token = make_token();
        const auto& text = token.text.reveal();
        EXPECT_EQ(text.size(), 48U);
        EXPECT_TRUE(text.starts_with("llmp_"));
        EXPECT_TRUE(has_token_form(text)) << text;
        EXPECT_EQ(token.prefix, text.substr(0, 11));
        EXPECT_EQ(token.hash, core::sha256(text));
    }
}

TEST(TokenText, IsNeverTheSameAndUsesAllDigits)
{
    std::set<std::string> seen;
    std::set<char> digits;
    for (int i = 0; i < 1000; ++i) {
        const auto token = make_token();
        EXPECT_TRUE(seen.insert(token.text.reveal()).second);
        digits.insert(token.text.reveal().begin() + 5, token.text.reveal().end());
    }
    EXPECT_EQ(digits.size(), 62U);
}

TEST(TokenText, IsToldFromOtherTexts)
{
    const std::string good = "llmp_" + std::string(43, 'a');
    EXPECT_TRUE(has_token_form(good));
    EXPECT_TRUE(has_token_form("llmp_" + std::string(43, 'Z')));
    EXPECT_FALSE(has_token_form(""));
    EXPECT_FALSE(has_token_form("llmp_"));
    EXPECT_FALSE(has_token_form(good + "a"));
    EXPECT_FALSE(has_token_form(good.substr(1)));
    EXPECT_FALSE(has_token_form("LLMP_" + std::string(43, 'a')));
    EXPECT_FALSE(has_token_form("llmp_" + std::string(42, 'a') + "-"));
    EXPECT_FALSE(has_token_form("llmp_" + std::string(42, 'a') + '\0'));
    EXPECT_FALSE(has_token_form("sk-" + std::string(45, 'a')));
}

}  // namespace
}  // namespace llmproxy::accounts
