#pragma once

#include "line_format.hpp"
#include "llmproxy/telemetry/access_fields.hpp"
#include "llmproxy/telemetry/access_record.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy::telemetry {

inline constexpr std::size_t kMostLoggedPath = LineWriter::kMostText;
inline constexpr std::size_t kMostLoggedText = 512;

/// The path as lines show it: without query.
[[nodiscard]] std::string_view logged_path(const AccessRecord& record) noexcept;

}  // namespace llmproxy::telemetry
