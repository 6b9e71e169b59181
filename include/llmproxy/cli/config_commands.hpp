#pragma once

#include <ostream>
#include <string>

namespace llmproxy::cli {

/// `llm-proxy check`: prints the configuration in force (secrets masked) to `out`; warnings and
/// problems go to `err`. Reads the certificates too.
/// \return exit code: 0 right, 1 wrong.
[[nodiscard]] int run_check(const std::string& config_path, std::ostream& out, std::ostream& err);

/// `llm-proxy config WHAT`: prints what was made from the field table.
/// \param what  `reference`, `schema` or `example`.
/// \return exit code: 0, or 2 when there is no such document.
[[nodiscard]] int run_config(const std::string& what, std::ostream& out);

}  // namespace llmproxy::cli
