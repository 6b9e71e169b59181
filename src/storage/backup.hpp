#pragma once

#include "llmproxy/core/failure.hpp"
#include "sqlite.hpp"

#include <string>

namespace llmproxy::storage {

/// Copies the database, as it is at one moment, to a new file. Ends early when `source` is stopped.
/// Fails with Errc::conflict when there is such a file, else with Errc::store_unavailable; no file
/// is left then.
[[nodiscard]] core::Result<void> copy_database(Database& source, const std::string& path);

}  // namespace llmproxy::storage
