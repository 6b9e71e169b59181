#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/settings.hpp"
#include "llmproxy/storage/store.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy::storage {

struct SqliteOptions {
    Settings settings;
    std::shared_ptr<const core::Clock> clock;  ///< none: the machine's
    std::uint32_t reservations = 16384;        ///< requests under way at once
    std::uint32_t max_queued_writes = 4096;    ///< those that hold a reservation are not counted
    std::uint32_t max_queued_reads = 4096;
    core::Duration lock_patience =
        std::chrono::seconds(2);  ///< with other programs' locks on the file
    core::Duration probe_interval =
        std::chrono::seconds(1);  ///< between attempts of a store that does not work
    core::Duration query_timeout = std::chrono::seconds(30);
    core::Duration upkeep_interval =
        std::chrono::seconds(60);  ///< between rollups and deletions of what is too old
    /// Told of each transaction how long it took, on the writing thread. May be empty.
    std::function<void(core::Duration took)> on_commit{};
};

/// Opens or makes the store at `settings.path`, in a folder that exists: takes its lock file
/// (`<path>-lock`), brings the schema up to date, settles the reservations that an earlier process
/// left (`<path>-reservations`). Blocks; for the start. Fails with Errc::conflict when another
/// program has the store open, else with Errc::store_unavailable: a newer schema, no such folder,
/// not a database, no space.
[[nodiscard]] core::Result<std::shared_ptr<Store>> open_sqlite(SqliteOptions options);

/// What `llm-proxy check --store` shows.
struct StoreReport {
    std::int64_t schema = 0;
    bool in_use = false;  ///< another program has it open; what that is doing is not disturbed
    std::int64_t projects = 0;
    std::int64_t tokens = 0;
    std::int64_t usage_rows = 0;
    std::int64_t reservations = 0;  ///< left in the journal, if it is not in use
    std::vector<std::string>
        problems;  ///< of SQLite's integrity check, and sums of the ledger that are wrong
};

/// Reads the whole store and compares. Blocks, for minutes if it is large. Changes nothing.
/// Fails with Errc::store_unavailable when there is none or it is not one.
[[nodiscard]] core::Result<StoreReport> check_sqlite(const std::string& path);

/// Store::backup for a store that no daemon has open: takes its lock file for the time.
/// Fails with Errc::conflict when one has, or when `to` exists.
[[nodiscard]] core::Result<void> backup_sqlite(const std::string& path, const std::string& to);

}  // namespace llmproxy::storage
