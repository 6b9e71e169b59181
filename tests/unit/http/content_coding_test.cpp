#include "llmproxy/http/content_coding.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <zlib.h>

namespace llmproxy::http {
namespace {

TEST(ContentCoding, KnowsWhatIsAccepted)
{
    for (const auto* accepted : {"gzip", "GZIP", "deflate, gzip;q=0.5", "*", "br;q=1.0, *;q=0.1",
                                 "gzip; q=1", "*;q=0, gzip"}) {
        EXPECT_TRUE(accepts_coding(accepted, "gzip")) << accepted;
    }
    for (const auto* refused :
         {"", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "*, gzip;q=0", "xgzip", "gzipx"}) {
        EXPECT_FALSE(accepts_coding(refused, "gzip")) << refused;
    }
}

std::string unpack(std::string_view packed)
{
    z_stream stream{};
    EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
    std::string out;
    std::array<char, 4096> piece{};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    int code = Z_OK;
    while (code == Z_OK) {
        stream.next_out = reinterpret_cast<Bytef*>(piece.data());
        stream.avail_out = piece.size();
        code = inflate(&stream, Z_NO_FLUSH);
        out.append(piece.data(), piece.size() - stream.avail_out);
    }
    EXPECT_EQ(code, Z_STREAM_END);
    inflateEnd(&stream);
    return out;
}

TEST(ContentCoding, PacksWhatComesOutAgain)
{
    std::string text;
    for (int i = 0; i < 20'000; ++i) {
        text += "llmproxy_requests_total{backend=\"" + std::to_string(i) + "\"} 1\n";
    }
    const auto packed = gzip(text);
    ASSERT_TRUE(packed);
    EXPECT_LT(packed->size(), text.size() / 5);
    EXPECT_EQ(unpack(*packed), text);
    EXPECT_EQ(unpack(gzip("").value()), "");
}

}  // namespace
}  // namespace llmproxy::http
