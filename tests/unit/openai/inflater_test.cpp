#include "llmproxy/openai/inflater.hpp"

#include <gtest/gtest.h>

#include <string>
#include <zlib.h>

namespace llmproxy::openai {
namespace {

std::string deflated(const std::string& text, int window)
{
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(deflateBound(&stream, text.size()) + 64, '\0');
    std::string input = text;
    stream.next_in = reinterpret_cast<Bytef*>(input.data());
    stream.avail_in = static_cast<uInt>(input.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string inflated(Coding coding, const std::string& data, std::size_t step)
{
    Inflater inflater(coding);
    std::string all;
    std::string out;
    for (std::size_t at = 0; at < data.size(); at += step) {
        EXPECT_TRUE(inflater.feed(std::string_view(data).substr(at, step), out));
        all += out;
    }
    return all;
}

TEST(Inflater, ReadsEveryWrapperInAnyPieces)
{
    std::string text;
    for (int i = 0; i < 5000; ++i) {
        text += std::to_string(i * 7919) + ",";
    }
    for (const std::size_t step : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20}) {
        EXPECT_EQ(inflated(Coding::gzip, deflated(text, 31), step), text);
        EXPECT_EQ(inflated(Coding::gzip, deflated(text, 31) + deflated("more", 31), step),
                  text + "more");
        EXPECT_EQ(inflated(Coding::deflate, deflated(text, 15), step), text);
        EXPECT_EQ(inflated(Coding::deflate, deflated(text, -15), step), text);
    }
}

TEST(Inflater, StopsAtBrokenDataAndBombs)
{
    std::string out;
    Inflater broken(Coding::gzip);
    EXPECT_FALSE(broken.feed("this is not gzip", out));
    EXPECT_FALSE(broken.feed("x", out));
    Inflater bomb(Coding::gzip);
    EXPECT_FALSE(bomb.feed(deflated(std::string(20'000'000, 'x'), 31), out));
    EXPECT_LE(out.size(), Inflater::kMaxOutput);
}

TEST(Inflater, KnowsCodingNames)
{
    EXPECT_EQ(coding_of(" GZip "), Coding::gzip);
    EXPECT_EQ(coding_of("deflate"), Coding::deflate);
    EXPECT_FALSE(coding_of("br"));
    EXPECT_FALSE(coding_of("gzip, gzip"));
    EXPECT_FALSE(coding_of("identity"));
}

}  // namespace
}  // namespace llmproxy::openai
