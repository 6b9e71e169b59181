#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace llmproxy::core {

/// The number that is all of `text`: no spaces, no `+`, no unit. None if it is not one or does not fit T.
/// Leading zeros are let pass.
template <typename T>
[[nodiscard]] std::optional<T> parse_number(std::string_view text) noexcept
{
    T number{};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end) {
        return std::nullopt;
    }
    return number;
}

}  // namespace llmproxy::core
