#pragma once

#include <iosfwd>
#include <string>

namespace llmproxy::cli {

/// `llm-proxy healthcheck`: one GET, for container health checks. Waits at most 3 s for each step.
/// \param url  `http://host:port/path`.
/// \return exit code: 0 for status 200, else 1 with the reason on `err`; 2 for a URL that cannot be used.
[[nodiscard]] int run_healthcheck(const std::string& url, std::ostream& err);

}  // namespace llmproxy::cli
