#include "llmproxy/app/store_commands.hpp"

#include "llmproxy/config/load.hpp"
#include "llmproxy/storage/sqlite_store.hpp"

#include <optional>
#include <ostream>

namespace llmproxy::app {
namespace {

/// The path of the store that a configuration names; nothing, with the reason on `err`, if there is none.
std::optional<std::string> store_of(const std::string& config_path, std::ostream& err)
{
    const auto loaded = config::load_file(config_path, config::process_environment());
    for (const auto& problem : loaded.problems) {
        err << problem.to_string() << "\n";
    }
    if (!loaded.snapshot) {
        return std::nullopt;
    }
    if (loaded.snapshot->store.path.empty()) {
        err << config_path << ": store.path is empty: there is no store\n";
        return std::nullopt;
    }
    return loaded.snapshot->store.path;
}

}  // namespace

int run_check_store(const std::string& config_path, std::ostream& out, std::ostream& err)
{
    const auto path = store_of(config_path, err);
    if (!path) {
        return 1;
    }
    const auto report = storage::check_sqlite(*path);
    if (!report) {
        err << *path << ": " << report.error().describe() << "\n";
        return 1;
    }
    // Comments, so that what `check` prints stays YAML.
    out << "# store: " << *path << ", schema " << report->schema
        << (report->in_use ? ", in use" : "") << "\n"
        << "# store: " << report->projects << " projects, " << report->tokens << " tokens, "
        << report->usage_rows << " usage rows, " << report->reservations
        << " reservations left over\n";
    for (const auto& problem : report->problems) {
        err << *path << ": " << problem << "\n";
    }
    return report->problems.empty() ? 0 : 1;
}

int run_offline_backup(const std::string& config_path, const std::string& to, std::ostream& out,
                       std::ostream& err)
{
    if (to.empty()) {
        err << "a path for the copy is needed\n";
        return 2;
    }
    const auto path = store_of(config_path, err);
    if (!path) {
        return 1;
    }
    const auto made = storage::backup_sqlite(*path, to);
    if (!made) {
        err << *path << ": " << made.error().describe() << "\n";
        return 1;
    }
    out << "path  " << to << "\n";
    return 0;
}

}  // namespace llmproxy::app
