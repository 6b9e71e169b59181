#pragma once

#include <iosfwd>
#include <string>

namespace llmproxy::app {

/// `llm-proxy serve`: runs the daemon until a signal ends it.
///
/// SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads and reopens log files; SIGUSR1 reopens them.
/// \return exit code: 0, 1 for a configuration or start that failed (reasons on `err`), 3 for a drain cut short.
[[nodiscard]] int run_serve(const std::string& config_path, std::ostream& err);

}  // namespace llmproxy::app
