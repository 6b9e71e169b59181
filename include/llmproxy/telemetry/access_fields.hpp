#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::telemetry {

/// What a field of a line holds, in JSON: texts and times are strings, milliseconds numbers.
enum class AccessFieldType : std::uint8_t { text, time, integer, milliseconds, boolean, tries };

/// One field of the access log in JSON: all that is written, shown by the management API and
/// documented of it.
struct AccessFieldInfo {
    std::string_view name;
    AccessFieldType type = AccessFieldType::text;
    bool always = false;  ///< else left out where it does not apply
    std::string_view help;
};

/// Every field of a line, in its order. Made once; may be read from any thread.
[[nodiscard]] std::span<const AccessFieldInfo> access_fields();
/// Those of one entry of `tries`.
[[nodiscard]] std::span<const AccessFieldInfo> try_fields();

/// The table of fields in docs/logging.md.
[[nodiscard]] std::string access_fields_markdown();

}  // namespace llmproxy::telemetry
