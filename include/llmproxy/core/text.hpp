#pragma once

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

}  // namespace llmproxy::core
