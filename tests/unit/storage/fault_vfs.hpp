#pragma once

#include <cstdint>

namespace llmproxy::storage::test {

/// Stands between SQLite and the file system of this process, and makes both fail when told to.
///
/// Thread safety: every function may be called concurrently. Installed for all connections opened after `install`.
class FaultVfs {
public:
    /// Once for the process; does nothing a second time.
    static void install();

    /// The next `passes` writes and syncs work; all after that fail with SQLite's `code`.
    static void fail_writes_after(std::int64_t passes, int code);
    /// What is read of a database file is garbage.
    static void garble_reads();
    static void heal();

    /// Writes and syncs since `fail_writes_after` or `heal`.
    [[nodiscard]] static std::int64_t writes();
};

}  // namespace llmproxy::storage::test
