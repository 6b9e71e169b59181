#pragma once

#include "llmproxy/core/clock.hpp"

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace llmproxy::telemetry {

/// Appends `text` escaped for the inside of a JSON string. As core::append_json_escaped, but a run
/// that needs no escape is appended at once.
void append_escaped(std::string& out, std::string_view text);

/// Appends `time` as RFC 3339 with milliseconds in UTC. The second is formatted once per thread.
void append_time(std::string& out, core::SystemTime time);

/// Appends a duration as milliseconds with three decimals; less than nothing counts as nothing.
void append_milliseconds(std::string& out, core::Duration duration);

template <std::integral T>
void append_number(std::string& out, T value)
{
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, static_cast<std::size_t>(end - digits));
}

}  // namespace llmproxy::telemetry
