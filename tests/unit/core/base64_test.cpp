#include "llmproxy/core/base64.hpp"

#include <gtest/gtest.h>

namespace llmproxy::core {
namespace {

/// RFC 4648, section 10, and the two digits that are no letters.
constexpr std::pair<std::string_view, std::string_view> kVectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xff", "+/8="},
};

TEST(Base64, GoesBothWays)
{
    for (const auto& [bytes, text] : kVectors) {
        EXPECT_EQ(encode_base64(bytes), text);
        EXPECT_EQ(decode_base64(text), bytes) << text;
    }
}

TEST(Base64, RefusesWhatIsNotCanonical)
{
    for (const auto* text : {"Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zh==", "Zm9=", "Zm 8",
                             "Zm8-", "Zg==Zg==", "Zm8=\n"}) {
        EXPECT_EQ(decode_base64(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace llmproxy::core
