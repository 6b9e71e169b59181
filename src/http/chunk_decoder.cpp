#include "llmproxy/http/chunk_decoder.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::http {
namespace {

constexpr std::uint8_t kMaxDigits = 16;
constexpr std::uint64_t kMaxChunk = (std::uint64_t{1} << 60) - 1;  // 15 significant digits

bool is_token(unsigned char byte) noexcept
{
    constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
    const unsigned char folded = byte | 0x20U;
    return (folded >= 'a' && folded <= 'z') || (byte >= '0' && byte <= '9') ||
           (byte < 0x80 && kPunctuation.find(static_cast<char>(byte)) != std::string_view::npos);
}

bool is_field_text(unsigned char byte) noexcept
{
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

}  // namespace

core::Result<ChunkDecoder::Step> ChunkDecoder::next(std::string_view input)
{
    std::size_t at = 0;
    while (at < input.size() && state_ != State::done) {
        if (state_ == State::data) {
            const auto run =
                static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - at));
            left_ -= run;
            body_bytes_ += run;
            if (left_ == 0) {
                state_ = State::data_cr;
            }
            return Step{at + run, input.substr(at, run)};
        }
        if (const char* const wrong = advance(static_cast<unsigned char>(input[at]))) {
            state_ = State::failed;
            return core::Failure(core::Errc::bad_request, core::Origin::client, wrong);
        }
        ++at;
    }
    return Step{at, {}};
}

/// What may follow the digits of a chunk size.
const char* ChunkDecoder::end_of_size(unsigned char byte) noexcept
{
    if (byte == '\r') {
        state_ = State::size_lf;
        return nullptr;
    }
    const bool space = byte == ' ' || byte == '\t';
    if (!space && byte != ';') {
        return "chunk size is not hexadecimal or its line does not end in CRLF";
    }
    if (extensions_ == Extensions::refuse) {
        return "chunk extensions are not accepted";
    }
    if (++overhead_ > kMaxOverhead) {
        return "too many bytes of chunk extensions and trailers";
    }
    state_ = space ? State::padding : State::extension;
    return nullptr;
}

const char* ChunkDecoder::advance(unsigned char byte) noexcept
{
    constexpr const char* kLineEnd = "chunk framing has a line end other than CRLF";
    constexpr const char* kTrailer = "trailer is not a field line";
    switch (state_) {
    case State::size_first:
        digits_ = 0;
        left_ = 0;
        if (core::hex_value(static_cast<char>(byte)) < 0) {
            return "chunk size does not begin with a hexadecimal digit";
        }
        state_ = State::size;
        [[fallthrough]];
    case State::size: {
        const int value = core::hex_value(static_cast<char>(byte));
        if (value < 0) {
            return end_of_size(byte);
        }
        left_ = (left_ << 4U) | static_cast<std::uint64_t>(value);
        if (++digits_ > kMaxDigits || left_ > kMaxChunk) {
            return "chunk size is too large";
        }
        return nullptr;
    }
    case State::padding: return end_of_size(byte);
    case State::extension:
        if (byte == '\r') {
            state_ = State::size_lf;
            return nullptr;
        }
        if (!is_field_text(byte)) {
            return byte == '\n' ? kLineEnd : "control character in a chunk extension";
        }
        return ++overhead_ > kMaxOverhead ? "too many bytes of chunk extensions and trailers"
                                          : nullptr;
    case State::size_lf:
        state_ = left_ == 0 ? State::trailer_first : State::data;
        return byte == '\n' ? nullptr : kLineEnd;
    case State::data_cr:
        state_ = State::data_lf;
        return byte == '\r' ? nullptr : "chunk is longer than its size";
    case State::data_lf: state_ = State::size_first; return byte == '\n' ? nullptr : kLineEnd;
    case State::trailer_first:
        if (byte == '\r') {
            state_ = State::final_lf;
            return nullptr;
        }
        if (!is_token(byte)) {
            return kTrailer;
        }
        state_ = State::trailer_name;
        break;
    case State::trailer_name:
        if (byte == ':') {
            state_ = State::trailer_value;
        } else if (!is_token(byte)) {
            return kTrailer;
        }
        break;
    case State::trailer_value:
        if (byte == '\r') {
            state_ = State::trailer_lf;
        } else if (!is_field_text(byte)) {
            return byte == '\n' ? kLineEnd : kTrailer;
        }
        break;
    case State::trailer_lf: state_ = State::trailer_first; return byte == '\n' ? nullptr : kLineEnd;
    case State::final_lf: state_ = State::done; return byte == '\n' ? nullptr : kLineEnd;
    case State::data:
    case State::done:
    case State::failed: return "the body was already found to be malformed";
    }
    return ++overhead_ > kMaxOverhead ? "too many bytes of chunk extensions and trailers" : nullptr;
}

}  // namespace llmproxy::http
