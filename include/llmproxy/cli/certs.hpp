#pragma once

#include <ostream>
#include <string>

namespace llmproxy::cli {

/// `llm-proxy certs init DIR`: makes a throw-away CA and a server certificate for development.
///
/// Writes `ca.crt`, `ca.key`, `server.crt`, `server.key` (keys with mode 0600 from the start; ECDSA
/// P-256). The CA is good for 10 years, the server's certificate for 825 days, with the names
/// `llm-as-judge-proxy`, `localhost`, `127.0.0.1` and `::1`. Makes `dir` if it is missing.
///
/// Never overwrites: with any of the four there already it changes nothing. On failure none of the
/// four is left. Thread safety: none needed; two processes at once cannot overwrite each other's
/// files. Returns the exit code: 0, or 1 with the reason and what to do about it on `err`.
[[nodiscard]] int run_certs_init(const std::string& dir, std::ostream& out, std::ostream& err);

}  // namespace llmproxy::cli
