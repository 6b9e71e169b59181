#include "json_cursor.hpp"

#include <simdjson.h>

namespace llmproxy::openai::json {
namespace {

constexpr bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

/// What numbers, true, false and null are made of.
constexpr auto kScalar = [] {
    std::array<bool, 256> scalar{};
    for (const unsigned char c : std::string_view("+-.0123456789Eaeflnrstu")) {
        scalar[c] = true;
    }
    return scalar;
}();

/// What stands before a string; behind anything else a quote is no JSON.
constexpr auto kBeforeString = [] {
    std::array<bool, 256> before{};
    for (const unsigned char c : std::string_view("{[,: \n\r\t")) {
        before[c] = true;
    }
    return before;
}();

}  // namespace

Cursor::Cursor(std::string_view text) noexcept
    : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), last_block_(begin_)
{
    while (end_ != begin_ && is_white(end_[-1])) {
        --end_;
    }
    if (end_ - begin_ < Block::kSize || end_[-1] != '}') {
        fail();
        return;
    }
    last_block_ = end_ - Block::kSize;
}

bool Cursor::at_end() const noexcept
{
    return at_ == end_ && !broken_ &&
           (high_ == 0 || simdjson::validate_utf8(begin_, static_cast<std::size_t>(end_ - begin_)));
}

std::string_view Cursor::any_string() noexcept
{
    const char* const start = at_;
    escaped_ = false;
    for (;;) {
        high_ |= stops([](const Block& block) { return block.high(); });
        const auto found = stops([](const Block& block) { return block.string_stops(); });
        if (found == 0) {
            if (end_ - at_ <= Block::kSize) {
                break;
            }
            at_ += Block::kSize;
            continue;
        }
        const char* const stop = at_ + std::countr_zero(found);
        if (*stop == '"') {
            at_ = stop + 1;
            return {start, static_cast<std::size_t>(stop - start)};
        }
        if (*stop != '\\' || static_cast<signed char>(stop[1]) < 0x20) {
            break;
        }
        escaped_ = true;
        at_ = stop + 2;
    }
    fail();
    return {};
}

bool Cursor::text(std::string& into)
{
    if (!is('"')) {
        return false;
    }
    ++at_;
    const auto found = string();
    if (escaped_) {
        fail();
    }
    if (broken_) {
        return false;
    }
    into = found;
    return true;
}

bool Cursor::number(std::uint64_t& into) noexcept
{
    constexpr std::ptrdiff_t kMostDigits = 19;  // of any that fit
    if (broken_ || !is_digit(*at_)) {
        return false;
    }
    const char* at = at_;
    std::uint64_t value = 0;
    do {
        value = value * 10 + static_cast<std::uint64_t>(*at - '0');
        ++at;
    } while (is_digit(*at));
    const auto digits = at - at_;
    const bool ends = !kScalar[static_cast<unsigned char>(*at)];
    if (!ends || digits > kMostDigits || (*at_ == '0' && digits > 1)) {
        fail();
        return false;
    }
    at_ = at;
    into = value;
    return true;
}

void Cursor::leave(int depth) noexcept
{
    for (;;) {
        const auto found = stops([](const Block& block) { return block.nesting_stops(); });
        if (found == 0) {
            if (end_ - at_ <= Block::kSize) {
                fail();
                return;
            }
            at_ += Block::kSize;
            continue;
        }
        at_ += std::countr_zero(found);
        switch (*at_++) {
        case '"':
            if (!kBeforeString[static_cast<unsigned char>(at_[-2])]) {
                fail();
                return;
            }
            string();
            break;
        case '{':
        case '[': ++depth; break;
        case '}':
        case ']':
            if (--depth == 0) {
                return;
            }
            break;
        default: fail(); return;
        }
    }
}

void Cursor::scalar() noexcept
{
    const char* at = at_;
    while (kScalar[static_cast<unsigned char>(*at)]) {
        ++at;
    }
    if (at == at_) {
        fail();
    }
    at_ = broken_ ? end_ : at;
}

void Cursor::skip() noexcept
{
    if (broken_) {
        return;
    }
    switch (*at_) {
    case '"':
        ++at_;
        string();
        break;
    case '{':
    case '[':
        ++at_;
        leave(1);
        break;
    default: scalar(); break;
    }
}

}  // namespace llmproxy::openai::json
