#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace llmproxy::openai::json {

/// Sixteen bytes looked at together. Each answer has one bit for each byte, the lowest for the first.
class Block {
public:
    static constexpr std::ptrdiff_t kSize = 16;

#ifdef __SSE2__
    explicit Block(const char* at) noexcept
        : bytes_(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)))
    {
    }
    /// Bytes past ASCII.
    [[nodiscard]] unsigned high() const noexcept
    {
        return mask(bytes_);
    }
    /// What the plain part of a string ends at: quotes, backslashes and control characters.
    [[nodiscard]] unsigned string_stops() const noexcept
    {
        return mask(_mm_or_si128(quotes(), at_most(bytes_, 0x1f)));
    }
    /// These and bytes past ASCII, which are less than 0 here.
    [[nodiscard]] unsigned ascii_stops() const noexcept
    {
        return mask(_mm_or_si128(quotes(), _mm_cmplt_epi8(bytes_, _mm_set1_epi8(0x20))));
    }
    /// Quotes, brackets, braces, and what no JSON has outside strings: backslashes, `|`, bytes past ASCII.
    [[nodiscard]] unsigned nesting_stops() const noexcept
    {
        const auto folded = _mm_or_si128(bytes_, _mm_set1_epi8(0x20));
        const auto from_brace = _mm_sub_epi8(folded, _mm_set1_epi8('{'));
        const auto brackets = at_most(from_brace, '}' - '{');
        return mask(_mm_or_si128(_mm_or_si128(are('"'), brackets), bytes_));
    }

private:
    static unsigned mask(__m128i bytes) noexcept
    {
        return static_cast<unsigned>(_mm_movemask_epi8(bytes));
    }
    static __m128i at_most(__m128i bytes, char most) noexcept
    {
        return _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(most)), bytes);
    }
    [[nodiscard]] __m128i are(char c) const noexcept
    {
        return _mm_cmpeq_epi8(bytes_, _mm_set1_epi8(c));
    }
    [[nodiscard]] __m128i quotes() const noexcept
    {
        return _mm_or_si128(are('"'), are('\\'));
    }

    __m128i bytes_;
#else
    explicit Block(const char* at) noexcept : at_(at) {}
    [[nodiscard]] unsigned high() const noexcept
    {
        return mask([](unsigned char c) { return c >= 0x80; });
    }
    [[nodiscard]] unsigned string_stops() const noexcept
    {
        return mask([](unsigned char c) { return c == '"' || c == '\\' || c < 0x20; });
    }
    [[nodiscard]] unsigned ascii_stops() const noexcept
    {
        return string_stops() | high();
    }
    [[nodiscard]] unsigned nesting_stops() const noexcept
    {
        return mask([](unsigned char c) {
            const unsigned folded = c | 0x20U;
            return c == '"' || (folded >= '{' && folded <= '}') || c >= 0x80;
        });
    }

private:
    template <typename Is>
    [[nodiscard]] unsigned mask(Is is) const noexcept
    {
        unsigned bits = 0;
        for (std::ptrdiff_t i = 0; i < kSize; ++i) {
            bits |= is(static_cast<unsigned char>(at_[i])) ? 1U << i : 0U;
        }
        return bits;
    }

    const char* at_;
#endif
};

/// Walks a JSON document that has nothing unusual, in one pass, without copying it or reading past its end.
///
/// It stands at a value. Whoever is given one may take it or leave it: what was not taken is stepped over. Once it met
/// something unusual it is broken and finds nothing more; then nothing of what it told counts, and the document is
/// to be read by simdjson, which says what is wrong with it, if anything. Unusual is what is no JSON, as far as it is
/// looked at, and besides: keys with escapes where fields are visited, a number or text that is asked for and is not
/// plain, and documents of less than a block. Of a document that it reads to its end (`at_end`) it tells what On-Demand
/// does.
class Cursor {
public:
    explicit Cursor(std::string_view text) noexcept;

    /// Steps over white space to the root. False if that is no object.
    [[nodiscard]] bool at_object() noexcept { return !broken_ && next() == '{'; }
    /// Nothing but white space is left, and all was well, UTF-8 too.
    [[nodiscard]] bool at_end() const noexcept;

    [[nodiscard]] bool is_object() const noexcept { return is('{'); }
    [[nodiscard]] bool is_array() const noexcept { return is('['); }
    [[nodiscard]] bool is_null() const noexcept { return is('n'); }

    /// Takes an object: calls `visit(key, *this)` for each field. False when broken.
    template <typename Visit>
    bool each_field(Visit&& visit);
    /// Takes an array: calls `visit(*this)` for its first element and steps over the others. False if there is none.
    template <typename Visit>
    bool first_element(Visit&& visit);
    /// Takes a text into `into`; leaves anything else.
    bool text(std::string& into);
    /// Takes a whole number that is not negative; leaves anything else.
    bool number(std::uint64_t& into) noexcept;
    /// Takes any value; sees only where it ends.
    void skip() noexcept;

private:
    [[nodiscard]] bool is(char first) const noexcept { return !broken_ && *at_ == first; }
    void fail() noexcept
    {
        broken_ = true;
        at_ = end_;
    }

    /// The character behind white space, at which it then stands. Only inside the root object, whose brace ends it.
    char next() noexcept
    {
        while (static_cast<unsigned char>(*at_) <= ' ' && is_white(*at_)) {
            ++at_;
        }
        return *at_;
    }
    static bool is_white(char c) noexcept
    {
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
    }

    /// Bits as of `look(Block)` for what is here, none past the end.
    template <typename Look>
    unsigned stops(Look look) const noexcept
    {
        const auto left = end_ - at_;
        const auto missing = left < Block::kSize ? Block::kSize - left : 0;
        return look(Block(at_ - missing)) >> missing;
    }
    /// The quote that ends the string whose inside this is, if that is plain ASCII and not close to the end.
    [[nodiscard]] const char* plain_end() const noexcept;
    /// Steps over the rest of a string whose opening quote is behind; tells its inside.
    std::string_view string() noexcept;
    std::string_view any_string() noexcept;
    /// Steps over a key and its colon, to the value.
    std::string_view key() noexcept;
    /// Behind an element: steps to the next, or over the closing `end`. False in the latter case, and when broken.
    bool more(char end) noexcept;
    /// Steps out of `depth` objects and arrays.
    void leave(int depth) noexcept;
    void scalar() noexcept;

    const char* begin_;
    const char* at_;
    const char* end_;         // behind the root's closing brace
    const char* last_block_;  // where the last block begins
    unsigned high_ = 0;       // some byte of a string is not ASCII
    bool escaped_ = false;    // the last string had a backslash
    bool broken_ = false;
};

inline const char* Cursor::plain_end() const noexcept
{
    for (const char* at = at_; at <= last_block_; at += Block::kSize) {
        if (const auto found = Block(at).ascii_stops(); found != 0) {
            at += std::countr_zero(found);
            return *at == '"' ? at : nullptr;
        }
    }
    return nullptr;
}

inline std::string_view Cursor::string() noexcept
{
    const char* const start = at_;
    const char* const stop = plain_end();
    if (stop == nullptr) {
        return any_string();
    }
    at_ = stop + 1;
    escaped_ = false;
    return {start, static_cast<std::size_t>(stop - start)};
}

inline std::string_view Cursor::key() noexcept
{
    if (next() == '"') {
        ++at_;
        const auto name = string();
        if (!escaped_ && !broken_ && next() == ':') {
            ++at_;
            next();
            return name;
        }
    }
    fail();
    return {};
}

inline bool Cursor::more(char end) noexcept
{
    if (at_ != end_) {  // behind the root's brace, and when broken
        const char c = next();
        ++at_;
        if (c == ',') {
            return true;
        }
        if (c == end) {
            return false;
        }
    }
    fail();
    return false;
}

template <typename Visit>
bool Cursor::each_field(Visit&& visit)
{
    ++at_;
    if (next() == '}') {
        ++at_;
        return true;
    }
    do {
        const auto name = key();
        if (broken_) {
            return false;
        }
        const char* const value = at_;
        visit(name, *this);
        if (at_ == value) {
            skip();
        }
    } while (more('}'));
    return !broken_;
}

template <typename Visit>
bool Cursor::first_element(Visit&& visit)
{
    ++at_;
    if (next() == ']') {
        ++at_;
        return false;
    }
    const char* const value = at_;
    visit(*this);
    if (at_ == value) {
        skip();
    }
    if (more(']')) {
        leave(1);
    }
    return true;
}

}  // namespace llmproxy::openai::json
