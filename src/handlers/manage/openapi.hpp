#pragma once

#include "json.hpp"

#include <string_view>

namespace llmproxy::handlers::manage {

/// The OpenAPI 3.1 document of all routes, made of their table.
[[nodiscard]] Json openapi_document(std::string_view version);

}  // namespace llmproxy::handlers::manage
