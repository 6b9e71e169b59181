#pragma once

#include "llmproxy/core/text.hpp"
#include "llmproxy/core/time_text.hpp"

#include <string>
#include <string_view>

namespace llmproxy::telemetry {

using core::append_milliseconds;
using core::append_number;
using core::append_time;

/// Appends `text` escaped for the inside of a JSON string. As core::append_json_escaped, but a run
/// that needs no escape is appended at once.
void append_escaped(std::string& out, std::string_view text);

/// Appends `key`, which ends with an opening quote, `text` escaped, and the closing quote.
void append_text_member(std::string& out, std::string_view key, std::string_view text);

}  // namespace llmproxy::telemetry
