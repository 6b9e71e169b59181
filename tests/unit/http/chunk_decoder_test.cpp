#include "llmproxy/http/chunk_decoder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::http {
namespace {

using Extensions = ChunkDecoder::Extensions;

struct Decoded {
    std::string body;
    std::size_t consumed = 0;
    bool done = false;
    bool failed = false;
    friend bool operator==(const Decoded&, const Decoded&) = default;
};

Decoded decode(const std::vector<std::string>& pieces, Extensions extensions)
{
    ChunkDecoder decoder(extensions);
    Decoded result;
    for (const auto& piece : pieces) {
        std::string_view rest = piece;
        while (!rest.empty() && !decoder.done()) {
            const auto step = decoder.next(rest);
            if (!step) {
                EXPECT_EQ(step.error().errc(), core::Errc::bad_request);
                EXPECT_FALSE(step.error().detail().empty());
                result.failed = true;
                return result;
            }
            result.body += step->data;
            result.consumed += step->consumed;
            rest.remove_prefix(step->consumed);
        }
    }
    result.done = decoder.done();
    EXPECT_EQ(decoder.body_bytes(), result.body.size());
    return result;
}

const std::string kValid =
    "5\r\nhello\r\n00a;x=\"y;z\" ;k\r\n0123456789\r\n0\r\nTrailer-A: b\r\nB:\r\n\r\nGET /";

TEST(ChunkDecoder, GivesTheSameForEverySplit)
{
    const auto whole = decode({kValid}, Extensions::skip);
    EXPECT_EQ(whole.body, "hello0123456789");
    EXPECT_TRUE(whole.done);
    EXPECT_EQ(whole.consumed, kValid.size() - 5);
    for (std::size_t i = 0; i <= kValid.size(); ++i) {
        for (std::size_t k = i; k <= kValid.size(); ++k) {
            const auto parts = decode(
                {kValid.substr(0, i), kValid.substr(i, k - i), kValid.substr(k)}, Extensions::skip);
            ASSERT_EQ(parts, whole) << i << ' ' << k;
        }
    }
}

TEST(ChunkDecoder, IsNotDoneBeforeTheLastByte)
{
    const std::string body = "3\r\nabc\r\n0\r\n\r\n";
    for (std::size_t i = 0; i < body.size(); ++i) {
        EXPECT_FALSE(decode({body.substr(0, i)}, Extensions::refuse).done) << i;
    }
    EXPECT_TRUE(decode({body}, Extensions::refuse).done);
}

TEST(ChunkDecoder, ReturnsViewsIntoTheInput)
{
    ChunkDecoder decoder(Extensions::refuse);
    const std::string input = "A\r\n0123456789\r\n";
    const auto step = decoder.next(input);
    ASSERT_TRUE(step.has_value());
    EXPECT_EQ(step->data.data(), input.data() + 3);
    EXPECT_EQ(step->consumed, 13U);
}

TEST(ChunkDecoder, RefusesWhatOthersReadDifferently)
{
    const std::vector<std::string> bad{
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\n\r\n",
        "5_0\r\nhello",
        "g\r\n",
        "00000000000000005\r\nhello",
        "FFFFFFFFFFFFFFFF\r\n",
        "1000000000000000\r\n",
        "5;a=\"\n\"\r\nhello\r\n",
        "5;a=\"\r\"\r\nhello\r\n",
        std::string("5;a=\0\r\nhello", 12),
        "0\r\nX: a\n\r\n",
        "0\r\n X: folded\r\n\r\n",
        "0\r\nno-colon\r\n\r\n",
        "0\r\n: empty\r\n\r\n",
        "0\r\nX : space\r\n\r\n",
        "0\r\nX: a\rb\r\n\r\n",
    };
    for (const auto& text : bad) {
        EXPECT_TRUE(decode({text}, Extensions::skip).failed) << text;
        EXPECT_TRUE(decode({text}, Extensions::refuse).failed) << text;
        std::vector<std::string> bytes;
        std::transform(text.begin(), text.end(), std::back_inserter(bytes),
                       [](char c) { return std::string(1, c); });
        EXPECT_TRUE(decode(bytes, Extensions::skip).failed) << text;
    }
}

TEST(ChunkDecoder, RefusesExtensionsInRequestsOnly)
{
    for (const std::string size : {"5;x", "5 ;x", "5 ", "5;", "5;a=\"b\""}) {
        const auto text = size + "\r\nhello\r\n0\r\n\r\n";
        EXPECT_TRUE(decode({text}, Extensions::refuse).failed) << size;
        EXPECT_EQ(decode({text}, Extensions::skip).body, "hello") << size;
    }
}

TEST(ChunkDecoder, BoundsExtensionsAndTrailersTogether)
{
    std::string many;
    for (int i = 0; i < 9000; ++i) {
        many += "1;x\r\na\r\n";
    }
    EXPECT_TRUE(decode({many}, Extensions::skip).failed);
    EXPECT_TRUE(decode({"1;" + std::string(20'000, 'x')}, Extensions::skip).failed);
    EXPECT_TRUE(decode({"1" + std::string(20'000, ' ')}, Extensions::skip).failed);
    EXPECT_TRUE(decode({"0\r\nX: " + std::string(20'000, 'x')}, Extensions::refuse).failed);
    EXPECT_FALSE(decode({"0\r\nX: " + std::string(10'000, 'x')}, Extensions::refuse).failed);
}

TEST(ChunkDecoder, TakesTheLargestSizeAndStaysFailed)
{
    EXPECT_FALSE(decode({"0FFFFFFFFFFFFFFF\r\nx"}, Extensions::refuse).failed);
    ChunkDecoder decoder(Extensions::refuse);
    EXPECT_FALSE(decoder.next("z").has_value());
    EXPECT_FALSE(decoder.next("0\r\n\r\n").has_value());
}

}  // namespace
}  // namespace llmproxy::http
