#include "llmproxy/http/content_coding.hpp"

#include "llmproxy/core/text.hpp"

#include <limits>
#include <zlib.h>

namespace llmproxy::http {
namespace {

/// Whether the weight among an item's parameters is 0: `q=0`, `q=0.000`.
bool is_refused(std::string_view parameters) noexcept
{
    while (!parameters.empty()) {
        const auto end = std::min(parameters.find(';'), parameters.size());
        const auto one = core::trim(parameters.substr(0, end));
        if (one.size() > 2 && core::iequals(one.substr(0, 2), "q=")) {
            return one.substr(2).find_first_not_of("0.") == std::string_view::npos;
        }
        parameters.remove_prefix(std::min(end + 1, parameters.size()));
    }
    return false;
}

}  // namespace

bool accepts_coding(std::string_view accept_encoding, std::string_view coding) noexcept
{
    std::optional<bool> named;
    std::optional<bool> any;
    core::for_each_item(accept_encoding, [&](std::string_view item) {
        const auto end = std::min(item.find(';'), item.size());
        const auto name = core::trim(item.substr(0, end));
        const bool accepted = !is_refused(item.substr(std::min(end + 1, item.size())));
        if (core::iequals(name, coding)) {
            named = accepted;
        } else if (name == "*") {
            any = accepted;
        }
    });
    return named.value_or(any.value_or(false));
}

std::optional<std::string> gzip(std::string_view text)
{
    constexpr int kGzip = 15 + 16;  // the largest window, with a gzip header
    if (text.size() > std::numeric_limits<uInt>::max() / 2) {
        return std::nullopt;
    }
    z_stream stream{};
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return std::nullopt;
    }
    std::string out(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
    // zlib's interface is older than const.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int ended = deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return ended == Z_STREAM_END ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace llmproxy::http
