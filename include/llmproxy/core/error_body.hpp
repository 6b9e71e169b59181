#pragma once

#include "llmproxy/core/failure.hpp"

#include <string>
#include <string_view>

namespace llmproxy::core {

/// The JSON body of an error of ours, in OpenAI's shape: `{"error":{"message","type","param","code"}}`.
/// Carries the failure's message and param, never its detail.
[[nodiscard]] std::string error_body(const Failure& failure);

/// Appends what every shape of an error of ours holds: the members message, type, param and code.
/// \param type  the table's type, or what the shape puts there instead.
void append_error_members(std::string& out, const Failure& failure, std::string_view type);

}  // namespace llmproxy::core
