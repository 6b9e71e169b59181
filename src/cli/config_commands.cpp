#include "llmproxy/cli/config_commands.hpp"

#include "llmproxy/config/documents.hpp"
#include "llmproxy/config/load.hpp"

#include <algorithm>
#include <vector>

namespace llmproxy::cli {

int run_check(const std::string& config_path, std::ostream& out, std::ostream& err)
{
    auto [snapshot, problems] = config::load_file(config_path, config::process_environment());
    if (snapshot) {
        for (const auto& warning : snapshot->warnings) {
            err << warning << '\n';
        }
        problems = config::check_files(*snapshot);
    }
    for (const auto& problem : problems) {
        err << problem.to_string() << '\n';
    }
    const bool wrong = std::any_of(problems.begin(), problems.end(),
                                   [](const auto& problem) { return !problem.warning; });
    if (wrong) {
        return 1;
    }
    out << config::effective_yaml(*snapshot);
    return 0;
}

int run_config(const std::string& what, std::ostream& out)
{
    if (what == "reference") {
        out << config::reference_markdown();
    } else if (what == "schema") {
        out << config::schema_json();
    } else if (what == "example") {
        out << config::example_yaml();
    } else {
        return 2;
    }
    return 0;
}

}  // namespace llmproxy::cli
