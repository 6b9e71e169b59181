#pragma once

#include <iosfwd>
#include <string>

namespace llmproxy::app {

/// `llm-proxy check --store`: reads the whole store that a valid configuration names, and compares. Takes nothing from a
/// daemon that uses it.
/// \return exit code: 0 right; 1 wrong, or there is none, with the reasons on `err`.
[[nodiscard]] int run_check_store(const std::string& config_path, std::ostream& out,
                                  std::ostream& err);

/// `llm-proxy backup --config FILE PATH`: copies the store of a configuration that no daemon has open.
/// \return exit code: 0; 1 with the reason on `err`; 2 without a path.
[[nodiscard]] int run_offline_backup(const std::string& config_path, const std::string& to,
                                     std::ostream& out, std::ostream& err);

}  // namespace llmproxy::app
