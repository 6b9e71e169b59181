#pragma once

#include "llmproxy/core/failure.hpp"
#include "sqlite.hpp"

#include <cstdint>

namespace llmproxy::storage {

/// The schema that this program knows: the number of migrations.
[[nodiscard]] std::int64_t known_schema() noexcept;

/// The file's schema; 0 for an empty file. Fails (`failed`) if the file is a database of somebody
/// else.
[[nodiscard]] core::Result<std::int64_t> schema_of(Database& database);

/// Brings the schema up to date, each migration in a transaction of its own: one that fails leaves
/// the schema as it was before it. Fails (`failed`) without touching anything when the file's
/// schema is newer.
/// \return the schema before.
[[nodiscard]] core::Result<std::int64_t> migrate(Database& database);

}  // namespace llmproxy::storage
