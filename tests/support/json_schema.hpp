#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace llmproxy::test {

/// What is wrong with `value` by a JSON schema, with the place; empty if nothing is. Knows the keywords that
/// `/manage/openapi.json` uses, and says so of any other.
/// \param document  where `$ref` leads.
[[nodiscard]] std::string mismatch(const nlohmann::json& value, const nlohmann::json& schema,
                                   const nlohmann::json& document, const std::string& place = "$");

}  // namespace llmproxy::test
