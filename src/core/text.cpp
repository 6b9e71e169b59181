#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <cstdint>

namespace llmproxy::core {
namespace {

/// Length of the well-formed UTF-8 sequence (RFC 3629) at the front of `text`, or 0.
std::size_t utf8_length(std::string_view text) noexcept
{
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return tail(1) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef) {
        const bool ok = tail(1) && tail(2) && !(first == 0xe0 && byte(1) < 0xa0) &&
                        !(first == 0xed && byte(1) > 0x9f);
        return ok ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        const bool ok = tail(1) && tail(2) && tail(3) && !(first == 0xf0 && byte(1) < 0x90) &&
                        !(first == 0xf4 && byte(1) > 0x8f);
        return ok ? 4 : 0;
    }
    return 0;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) noexcept
{
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') {
        ++p;
    }
    return p == pattern.size();
}

void append_json_escaped(std::string& out, std::string_view text)
{
    constexpr std::string_view kHex = "0123456789abcdef";
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        const auto u = static_cast<unsigned char>(c);
        if (u >= 0x80) {
            const auto length = utf8_length(text.substr(i));
            if (length == 0) {
                out += "\xEF\xBF\xBD";
                ++i;
            } else {
                out.append(text, i, length);
                i += length;
            }
            continue;
        }
        ++i;
        switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default:
            if (u < 0x20 || u == 0x7f) {
                out += "\\u00";
                out += kHex[u >> 4];
                out += kHex[u & 15];
            } else {
                out += c;
            }
        }
    }
}

char* put_milliseconds(char* at, std::chrono::nanoseconds duration) noexcept
{
    const auto micros = std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
    char* end = std::to_chars(at, at + kMillisecondsSize - 4, micros / 1000).ptr;
    const auto fraction = static_cast<unsigned>(micros % 1000);
    *end++ = '.';
    *end++ = static_cast<char>('0' + fraction / 100);
    *end++ = static_cast<char>('0' + fraction / 10 % 10);
    *end++ = static_cast<char>('0' + fraction % 10);
    return end;
}

void append_milliseconds(std::string& out, std::chrono::nanoseconds duration)
{
    char digits[kMillisecondsSize];
    const char* const end = put_milliseconds(digits, duration);
    out.append(digits, static_cast<std::size_t>(end - digits));
}

std::string percent_decoded(std::string_view text)
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned char byte = 0;
        const auto digits = text.substr(i + 1, 2);
        const auto* const end = digits.data() + digits.size();
        const bool encoded = text[i] == '%' && digits.size() == 2 &&
                             std::from_chars(digits.data(), end, byte, 16).ptr == end;
        out += encoded ? static_cast<char>(byte) : text[i];
        i += encoded ? 2 : 0;
    }
    return out;
}

std::string percent_encoded(std::string_view text)
{
    constexpr std::string_view kHex = "0123456789ABCDEF";
    constexpr std::string_view kUnreserved = "-._~";
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool letter = lower(c) >= 'a' && lower(c) <= 'z';
        if (letter || (c >= '0' && c <= '9') || kUnreserved.find(c) != std::string_view::npos) {
            out += c;
        } else {
            out += '%';
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    return out;
}

}  // namespace llmproxy::core
