#pragma once

#include "session.hpp"

#include "llmproxy/cli/management.hpp"

#include <functional>
#include <map>
#include <string>

namespace CLI {
class App;
}

namespace llmproxy::cli::manage {

/// \name The groups of commands
/// @{
void add_project_commands(CLI::App& app, Session& session);
void add_token_commands(CLI::App& app, Session& session);
void add_key_commands(CLI::App& app, Session& session);
void add_usage_commands(CLI::App& app, Session& session);
void add_backend_commands(CLI::App& app, Session& session);
void add_request_commands(CLI::App& app, Session& session);
void add_explain_command(CLI::App& app, Session& session);
void add_operation_commands(CLI::App& app, Session& session,
                            ManagementCommands::OfflineBackup offline_backup);
/// @}

/// Finds the path of what a command line names. Throws Stop.
using PathOf = std::function<std::string(Session& session, const std::string& named)>;

/// `limits`, `budget` and `spend` of a project or token.
void add_subject_commands(CLI::App& group, Session& session, const std::string& what,
                          const PathOf& path_of);

/// The id of a project, given that or its name. Throws Stop when there is none.
[[nodiscard]] std::string project_id(Session& session, const std::string& named);
/// The id of a token, given that or `PROJECT/NAME`. Throws Stop when there is none.
[[nodiscard]] std::string token_id(Session& session, const std::string& named);
/// Names by id, of all entries of a list.
[[nodiscard]] std::map<std::string, std::string> names_of(Session& session,
                                                          const std::string& target);

/// The options `--model`, `--host` and `--route`, and what they say.
struct GrantOptions {
    std::vector<std::string> models;
    std::vector<std::string> hosts;
    std::vector<std::string> routes;

    void add_to(CLI::App& command);
    /// An empty text, given alone, clears a list.
    void put(Json& body) const;
};

/// A sub-command with what it does.
CLI::App* command(CLI::App& group, Session& session, const std::string& name,
                  const std::string& description, std::function<void()> run);

/// Shows one object, as JSON or a field per line.
void show(Session& session, const Json& object);

inline constexpr std::size_t kEverything = 1'000'000;

}  // namespace llmproxy::cli::manage
