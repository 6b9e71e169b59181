#include "llmproxy/cli/config_commands.hpp"

#include "llmproxy/config/documents.hpp"
#include "llmproxy/config/load.hpp"

namespace llmproxy::cli {

int run_check(const std::string& config_path, std::ostream& out, std::ostream& err)
{
    const auto loaded = config::load_with_files(config_path, config::process_environment());
    if (!loaded.snapshot) {
        for (const auto& problem : loaded.problems) {
            err << problem.to_string() << '\n';
        }
        return 1;
    }
    for (const auto& warning : loaded.snapshot->warnings) {
        err << warning << '\n';
    }
    out << config::effective_yaml(*loaded.snapshot);
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
