#pragma once

#include "field.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::config {

/// `100ms`, `5s`, `3m`, `2h`, `10us`, `1h30m`, `1.5s`. A number alone is taken by `bare`.
/// None when the text is no duration or does not fit.
[[nodiscard]] std::optional<std::chrono::nanoseconds>
parse_duration(std::string_view text, BareUnit bare = BareUnit::refused);

/// `4096`, `10KB` (powers of 1000), `32KiB`, `1GiB` (powers of 1024). None when it is neither.
[[nodiscard]] std::optional<std::int64_t> parse_bytes(std::string_view text);

/// The shortest text that `parse_duration` reads back.
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

/// The text with the largest power of 1024 that divides it.
[[nodiscard]] std::string format_bytes(std::int64_t bytes);

/// A scalar's text as the field's type; `std::monostate` when it is not one or is out of bounds.
[[nodiscard]] Value parse_scalar(const Field& field, std::string_view text);

/// A value as YAML that stands on one line; secrets and masked values are `***`.
[[nodiscard]] std::string format_value(const Field& field, const Value& value);

/// Text as a YAML scalar, quoted where it has to be.
[[nodiscard]] std::string yaml_text(std::string_view text);

/// What the field takes: `an integer from 0 to 1024`.
[[nodiscard]] std::string expectation(const Field& field);

}  // namespace llmproxy::config
