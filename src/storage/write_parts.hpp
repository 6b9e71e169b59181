#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/rows.hpp"
#include "sqlite.hpp"
#include "writer.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace llmproxy::storage {

/// \name What changes of rows have in common
/// @{
inline constexpr char kProjectExists[] = "SELECT 1 FROM projects WHERE id = ?";
inline constexpr char kTokenExists[] = "SELECT 1 FROM tokens WHERE id = ?";
inline constexpr char kProviderKeyExists[] = "SELECT 1 FROM provider_keys WHERE id = ?";

/// The version that a row must have; none: any.
[[nodiscard]] std::optional<Version> expected(Version version) noexcept;

/// What a statement's failure means when rows contradict each other: "UNIQUE constraint failed:
/// tokens.name".
[[nodiscard]] core::Failure explained(Database& database, const core::Failure& failure);

/// Runs a statement that gives no rows. Fails as `explained` says.
[[nodiscard]] core::Result<void> run(Database& database, Query& query);

/// For a statement that deletes: whether there was something.
[[nodiscard]] core::Result<bool> run_delete(Database& database, Query& query);

/// What to answer when no row had the id and version. \param exists  asks for the row by its id.
[[nodiscard]] core::Failure not_changed(Database& database, const char* exists, std::int64_t id,
                                        const char* what);

/// Writes the audit row of a change of the row with this id.
[[nodiscard]] core::Result<void> note(WriteContext& context, AuditRow audit, std::int64_t id);
/// @}

}  // namespace llmproxy::storage
