#include "llmproxy/http/chunk_decoder.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using llmproxy::http::ChunkDecoder;

/// Body, and whether it failed, with pieces of `step` bytes.
std::pair<std::string, bool> decode(std::string_view input, std::size_t step,
                                    ChunkDecoder::Extensions extensions)
{
    ChunkDecoder decoder(extensions);
    std::string body;
    for (std::size_t at = 0; at < input.size() && !decoder.done(); at += step) {
        auto rest = input.substr(at, step);
        while (!rest.empty() && !decoder.done()) {
            const auto taken = decoder.next(rest);
            if (!taken) {
                return {body, true};
            }
            if (taken->consumed == 0 || taken->consumed > rest.size()) {
                std::abort();
            }
            body += taken->data;
            rest.remove_prefix(taken->consumed);
        }
    }
    return {body, false};
}

}  // namespace

/// Whatever the split, the decoder gives the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    for (const auto extensions :
         {ChunkDecoder::Extensions::refuse, ChunkDecoder::Extensions::skip}) {
        const auto whole = decode(input, size + 1, extensions);
        if (decode(input, 1, extensions) != whole || decode(input, 3, extensions) != whole) {
            std::abort();
        }
    }
    return 0;
}
