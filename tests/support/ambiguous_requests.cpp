#include "support/ambiguous_requests.hpp"

namespace llmproxy::test {

namespace {

std::string post_to(const std::string& base)
{
    return "POST " + base + "/v1/chat/completions HTTP/1.1\r\nHost: a\r\n";
}

}  // namespace

std::vector<NamedBytes> ambiguous_heads(const std::string& base)
{
    const auto post = post_to(base);
    const std::string five = "\r\n\r\nhello";
    return {
        {"TeGzipWithLength", post + "Transfer-Encoding: gzip\r\nContent-Length: 5" + five},
        {"TeGzip", post + "Transfer-Encoding: gzip\r\n\r\n"},
        {"TeXchunked", post + "Transfer-Encoding: xchunked\r\n\r\n"},
        {"TeChunkedIdentity", post + "Transfer-Encoding: chunked, identity\r\n\r\n"},
        {"TeQuoted", post + "Transfer-Encoding: \"chunked\"\r\n\r\n"},
        {"TeIdentityChunked", post + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"},
        {"TeTwice",
         post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"TeTwoKinds",
         post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"TeEmptyWithLength", post + "Transfer-Encoding:\r\nContent-Length: 5" + five},
        {"TeChunkedWithLength",
         post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
        {"LengthThenTe", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"TeVerticalTab", post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"},
        {"TeSpaceBeforeColon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
        {"TeOnHttp10",
         "POST " + base +
             "/v1/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {"Fold", post + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n"},
        {"FoldedTe", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
        {"FoldWithTab", post + "X: y\r\n\tz\r\nContent-Length: 5" + five},
        {"FoldAtFirstField",
         "POST " + base + "/v1/x HTTP/1.1\r\n Host: a\r\nContent-Length: 5" + five},
        {"LengthTwice", post + "Content-Length: 5\r\nContent-Length: 5" + five},
        {"LengthsDiffer", post + "Content-Length: 5\r\nContent-Length: 6" + five},
        {"LengthList", post + "Content-Length: 5, 5" + five},
        {"LengthZeroPadded", post + "Content-Length: 05" + five},
        {"LengthPlus", post + "Content-Length: +5" + five},
        {"LengthMinus", post + "Content-Length: -5" + five},
        {"LengthHex", post + "Content-Length: 0x5" + five},
        {"LengthEmpty", post + "Content-Length:" + five},
        {"LengthInnerSpace", post + "Content-Length: 5 5" + five},
        {"LengthOverflow", post + "Content-Length: 18446744073709551621" + five},
        {"HostTwice", post + "Host: b\r\n\r\n"},
        {"HostMissing", "GET " + base + "/v1/x HTTP/1.1\r\n\r\n"},
        {"HighBitTarget", "GET " + base + "/v1/\xff HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"FragmentTarget", "GET " + base + "/v1/a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"SpaceInTarget", "GET " + base + "/v1/a b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"ControlInTarget", "GET " + base + "/v1/a\x01 HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"BareLfHead", "POST " + base + "/v1/x HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello"},
        {"BareLfField", post + "X: 1\nContent-Length: 5" + five},
        {"BareCrInField", post + "X: 1\rY: 2\r\nContent-Length: 5" + five},
        {"NulInField", post + std::string("X: 1\0", 5) + "\r\nContent-Length: 5" + five},
        {"FieldWithoutColon", post + "Nonsense\r\nContent-Length: 5" + five},
        {"FieldWithoutName", post + ": x\r\nContent-Length: 5" + five},
        {"BadMethod", "P(ST " + base + "/v1/x HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"BadVersion", "GET " + base + "/v1/x HTTP/1.7.2\r\nHost: a\r\n\r\n"},
        {"Http2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    };
}

std::vector<NamedBytes> ambiguous_bodies(const std::string& base)
{
    const auto chunked = post_to(base) + "Transfer-Encoding: chunked\r\n\r\n";
    return {
        {"ChunkExtension", chunked + "5;a=b\r\nhello\r\n0\r\n\r\n"},
        {"ChunkExtensionLfQuoted", chunked + "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"},
        {"LastChunkExtension", chunked + "5\r\nhello\r\n0;x\r\n\r\n"},
        {"ChunkSizeNegative", chunked + "-5\r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizePrefixed", chunked + "0x5\r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizeOverflow", chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizeEmpty", chunked + "\r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizeTrailingSpace", chunked + "5 \r\nhello\r\n0\r\n\r\n"},
        {"ChunkSizeBareLf", chunked + "5\nhello\r\n0\r\n\r\n"},
        {"ChunkWithoutEnd", chunked + "5\r\nhelloXX0\r\n\r\n"},
        {"ChunkLongerThanSaid", chunked + "3\r\nhello\r\n0\r\n\r\n"},
        {"ChunkLeadingZeros", chunked + std::string(70'000, '0') + "1\r\na\r\n0\r\n\r\n"},
    };
}

}  // namespace llmproxy::test
