#pragma once

#include "client.hpp"
#include "table.hpp"

#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace llmproxy::cli::manage {

/// Why a command ended before it was done; `what` is the reason for people.
struct Stop {
    int code = 1;
    std::string reason;
};

/// What the commands share: the options that all have, and how they ask and answer.
/// Thread safety: none.
class Session {
public:
    /// Adds `--url`, `--token-file`, `--token`, `--ca` and `--json` to a group of commands.
    void add_options(CLI::App& group);

    /// What the command line asked for; set while it is parsed.
    std::function<void()> chosen;

    /// Runs `chosen`. The exit code: 0; 1 refused or failed; 2 wrong usage.
    int run(std::ostream& out, std::ostream& err);

    /// \name For the commands. All throw Stop.
    /// @{
    /// Asks; an error of the API ends the command with its message.
    Answer ask(const Question& question, const Sink& sink = {});
    Json get(const std::string& target);
    /// The same with its ETag.
    std::pair<Json, std::string> get_tagged(const std::string& target);
    Json send(std::string_view method, const std::string& target, const Json& body,
              const std::string& if_match = {});
    /// The entries of a list, page after page, at most `most`.
    Json list(std::string target, std::size_t most);
    /// @}

    [[nodiscard]] bool json() const noexcept { return json_; }
    [[nodiscard]] std::ostream& out() noexcept { return *out_; }
    /// The answer as it is, for `--json`.
    void print(const Json& value);

private:
    [[nodiscard]] Access access() const;

    std::string url_;  // as the command line says; empty: it does not
    std::string token_;
    std::string token_file_;
    std::string ca_;
    bool json_ = false;
    std::ostream* out_ = nullptr;
};

/// A query of names and values; those without a value are left out.
[[nodiscard]] std::string
query_of(const std::vector<std::pair<std::string_view, std::string>>& parameters);

/// A value of an answer as people read it: texts bare, lists with commas, null as `-`.
[[nodiscard]] std::string cell(const Json& value);

/// The entries of a list as a table of some of their fields.
void print_table(std::ostream& out, const Json& entries,
                 const std::vector<std::pair<std::string, std::string>>& columns);
/// One object, a field per line.
void print_fields(std::ostream& out, const Json& object);

}  // namespace llmproxy::cli::manage
