#pragma once

#include <charconv>
#include <chrono>
#include <concepts>
#include <cstring>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// ASCII lower case; bytes past 0x7f stay.
[[nodiscard]] constexpr char lower(char c) noexcept
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

/// Compares ignoring ASCII case. Reads only within both views.
[[nodiscard]] constexpr bool iequals(std::string_view a, std::string_view b) noexcept
{
    if (a.size() != b.size()) {
        return false;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

/// The value of a hexadecimal digit of either case; -1 for another character.
[[nodiscard]] constexpr int hex_value(char c) noexcept
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char low = lower(c);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/// Without spaces and tabs at both ends (OWS of RFC 9110, section 5.6.3).
[[nodiscard]] constexpr std::string_view trim(std::string_view text) noexcept
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

/// Calls `f(item)` for each non-empty trimmed item of a comma-separated list.
template <typename F>
constexpr void for_each_item(std::string_view list, F&& f)
{
    while (!list.empty()) {
        const auto comma = list.find(',');
        const auto item = trim(list.substr(0, comma));
        if (!item.empty()) {
            f(item);
        }
        if (comma == std::string_view::npos) {
            return;
        }
        list.remove_prefix(comma + 1);
    }
}

/// Glob with `*` for any run of characters, the rest literal and case-sensitive.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;

/// Escapes for the inside of a JSON string; bytes that are not UTF-8 become U+FFFD. Appends to `out`.
void append_json_escaped(std::string& out, std::string_view text);

/// With `%XX` decoded (RFC 3986, section 2.1); what is not a percent sign with two hex digits stays as it is.
[[nodiscard]] std::string percent_decoded(std::string_view text);
/// With everything encoded but the unreserved characters (RFC 3986, section 2.3).
[[nodiscard]] std::string percent_encoded(std::string_view text);

/// A text as a view; the length of a literal is known without looking.
template <std::size_t N>
[[nodiscard]] constexpr std::string_view view_of(const char (&literal)[N]) noexcept
{
    return {literal, N - 1};
}
[[nodiscard]] constexpr std::string_view view_of(std::string_view text) noexcept
{
    return text;
}

/// Appends all parts, growing `out` once.
template <typename... Parts>
void append_all(std::string& out, const Parts&... parts)
{
    const auto one = [](char*& at, std::string_view part) {
        if (!part.empty()) {  // memcpy takes no null pointer, not even for nothing
            std::memcpy(at, part.data(), part.size());
            at += part.size();
        }
    };
    const auto size = out.size();
    out.resize(size + (view_of(parts).size() + ...));
    char* at = out.data() + size;
    (one(at, view_of(parts)), ...);
}

/// Appends a whole number in decimal digits.
template <std::integral T>
void append_number(std::string& out, T value)
{
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
}

/// Writes a duration as milliseconds with three decimals, at most kMillisecondsSize characters; less than nothing
/// counts as nothing. Returns the end.
inline constexpr std::size_t kMillisecondsSize = 24;
[[nodiscard]] char* put_milliseconds(char* at, std::chrono::nanoseconds duration) noexcept;

/// Appends a duration so.
void append_milliseconds(std::string& out, std::chrono::nanoseconds duration);

}  // namespace llmproxy::core
