#pragma once

#include "llmproxy/core/failure.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace llmproxy::handlers::manage {

/// Members stay in the order in which they were put.
using Json = nlohmann::ordered_json;

/// What is wrong with a field of a request: 400 with `param`.
/// \param expected  completes "<param> must be ...".
[[nodiscard]] core::Failure bad_field(const std::string& param, std::string_view expected);

/// Reads one JSON text (RFC 8259): valid UTF-8, each key of an object once, nested at most
/// kMaxDepth deep. Fails with Errc::bad_request.
[[nodiscard]] core::Result<Json> parse_json(std::string_view text);

inline constexpr std::size_t kMaxDepth = 16;

/// The text of a value; what is not UTF-8 in it becomes U+FFFD.
[[nodiscard]] std::string to_text(const Json& value);

}  // namespace llmproxy::handlers::manage
