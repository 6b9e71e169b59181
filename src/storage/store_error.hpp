#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/store.hpp"

#include <boost/system/error_code.hpp>

#include <string>
#include <string_view>

struct sqlite3;

namespace llmproxy::storage {

/// A failure of the store itself, with the state that it is in as the cause.
[[nodiscard]] core::Failure store_failure(StoreState state, std::string detail);

/// The same out of a result of SQLite's. \param database  that it happened in; may be null.
[[nodiscard]] core::Failure sqlite_failure(sqlite3* database, int code, std::string_view doing);

/// The same out of `errno`.
[[nodiscard]] core::Failure system_failure(int error, std::string_view doing);

/// The state that a failure of the store tells of; `ok` for a failure that is none of the store's.
[[nodiscard]] StoreState state_of(const core::Failure& failure) noexcept;

}  // namespace llmproxy::storage
