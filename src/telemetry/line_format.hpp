#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/text.hpp"

#include <string>
#include <string_view>

namespace llmproxy::telemetry {

using core::append_milliseconds;
using core::append_number;

/// Appends `text` escaped for the inside of a JSON string. As core::append_json_escaped, but a run
/// that needs no escape is appended at once.
void append_escaped(std::string& out, std::string_view text);

/// Appends `key`, which ends with an opening quote, `text` escaped, and the closing quote.
void append_text_member(std::string& out, std::string_view key, std::string_view text);

/// Appends `time` as RFC 3339 with milliseconds in UTC. The second is formatted once per thread.
void append_time(std::string& out, core::SystemTime time);

}  // namespace llmproxy::telemetry
