#pragma once

#include "json.hpp"
#include "shape.hpp"

#include "llmproxy/storage/rows.hpp"

#include <vector>

namespace llmproxy::handlers::manage {

/// The fields `models`, `hosts` and `routes`, for requests.
[[nodiscard]] std::vector<Property> grant_fields();
/// The same for answers: all of them are there.
[[nodiscard]] std::vector<Property> shown_grant_fields();

/// Takes over what `body` says; what it does not say stays.
void read_grants(const Json& body, storage::Grants& into);
void put_grants(Json& into, const storage::Grants& grants);

}  // namespace llmproxy::handlers::manage
