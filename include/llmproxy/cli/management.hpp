#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

namespace CLI {
class App;
}

namespace llmproxy::cli {

/// The commands that are clients of the management API: `project`, `token`, `key`, `usage`, `backend`, `audit`,
/// `reload`, `backup`, `store`.
///
/// Thread safety: none. Lifetime: outlives the parsing of the command line.
class ManagementCommands {
public:
    /// Copies the store that a configuration names to `to`, without a daemon. Returns the exit code.
    using OfflineBackup = std::function<int(const std::string& config, const std::string& to,
                                            std::ostream& out, std::ostream& err)>;

    /// Adds the commands with their options.
    ManagementCommands(CLI::App& app, OfflineBackup offline_backup);
    ManagementCommands(const ManagementCommands&) = delete;
    ManagementCommands& operator=(const ManagementCommands&) = delete;
    ~ManagementCommands();

    /// Runs the one that the parsed command line names; blocks. The exit code: 0; 1 refused or failed, with the reason
    /// on `err`; 2 wrong usage. None if it names none of them.
    [[nodiscard]] std::optional<int> run(std::ostream& out, std::ostream& err);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace llmproxy::cli
