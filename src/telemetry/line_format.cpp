#include "line_format.hpp"

#include <algorithm>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace llmproxy::telemetry {
namespace {

constexpr auto kPlain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < 0x7f; ++c) {
        plain[c] = c != '"' && c != '\\';
    }
    return plain;
}();

bool is_plain(char c) noexcept
{
    return kPlain[static_cast<unsigned char>(c)];
}

template <typename Word>
Word load(const char* at) noexcept
{
    Word word = 0;
    std::memcpy(&word, at, sizeof word);
    return word;
}

/// is_plain of sixteen characters, eight in each word.
#ifdef __SSE2__
bool are_plain(__m128i text) noexcept
{
    const auto are = [text](char c) { return _mm_cmpeq_epi8(text, _mm_set1_epi8(c)); };
    const auto special = _mm_or_si128(_mm_or_si128(are('"'), are('\\')), are(0x7f));
    const auto others = _mm_cmplt_epi8(text, _mm_set1_epi8(0x20));  // past ASCII is less than 0
    return _mm_movemask_epi8(_mm_or_si128(special, others)) == 0;
}

bool are_plain(std::uint64_t one, std::uint64_t other) noexcept
{
    return are_plain(_mm_set_epi64x(static_cast<long long>(one), static_cast<long long>(other)));
}
#else
bool are_plain(std::uint64_t text) noexcept
{
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    constexpr std::uint64_t kHighs = 0x8080808080808080;
    const auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word; };
    const auto control = (text - kOnes * 0x20) & ~text;
    const auto special =
        zeros(text ^ (kOnes * '"')) | zeros(text ^ (kOnes * '\\')) | zeros(text ^ (kOnes * 0x7f));
    return ((control | special | text) & kHighs) == 0;
}

bool are_plain(std::uint64_t one, std::uint64_t other) noexcept
{
    return are_plain(one) && are_plain(other);
}
#endif

bool are_plain(const char* sixteen) noexcept
{
    return are_plain(load<std::uint64_t>(sixteen + 8), load<std::uint64_t>(sixteen));
}

std::size_t plain_length(std::string_view text) noexcept
{
    std::size_t at = 0;
    while (at + 16 <= text.size() && are_plain(text.data() + at)) {
        at += 16;
    }
    while (at < text.size() && is_plain(text[at])) {
        ++at;
    }
    return at;
}

/// Copies `text` and tells whether all of it is plain. The copy is complete only then.
bool copy_plain(char* to, std::string_view text) noexcept
{
    const char* const from = text.data();
    const auto size = text.size();
    if (size >= 16) {
        for (std::size_t at = 0;;
             at = std::min(at + 16, size - 16)) {  // the last ones may be twice
            if (!are_plain(from + at)) {
                return false;
            }
            std::memcpy(to + at, from + at, 16);
            if (at + 16 == size) {
                return true;
            }
        }
    }
    if (size >= 8) {
        const auto first = load<std::uint64_t>(from);
        const auto last = load<std::uint64_t>(from + size - 8);
        std::memcpy(to, &first, 8);
        std::memcpy(to + size - 8, &last, 8);
        return are_plain(first, last);
    }
    if (size >= 4) {
        const auto first = load<std::uint32_t>(from);
        const auto last = load<std::uint32_t>(from + size - 4);
        std::memcpy(to, &first, 4);
        std::memcpy(to + size - 4, &last, 4);
        const auto both = std::uint64_t{first} << 32 | last;
        return are_plain(both, both);
    }
    bool plain = true;
    for (std::size_t i = 0; i < size; ++i) {
        to[i] = from[i];
        plain = plain && is_plain(from[i]);
    }
    return plain;
}

}  // namespace

void append_escaped(std::string& out, std::string_view text)
{
    const auto clean = plain_length(text);
    out.append(text.data(), clean);
    if (clean < text.size()) {
        core::append_json_escaped(out, text.substr(clean));
    }
}

void LineWriter::inside(std::string_view value)
{
    value = value.substr(0, kMostText);
    need(value.size() + 1);
    if (copy_plain(at_, value)) {
        at_ += value.size();
    } else {
        finish();
        append_escaped(out_, value);
    }
    *at_++ = '"';
}

void LineWriter::finish()
{
    out_.append(buffer_.data(), static_cast<std::size_t>(at_ - buffer_.data()));
    at_ = buffer_.data();
}

}  // namespace llmproxy::telemetry
