#pragma once

#include <memory>
#include <optional>
#include <ostream>

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
    /// Adds the commands with their options.
    explicit ManagementCommands(CLI::App& app);
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
