#pragma once

#include "llmproxy/config/problem.hpp"
#include "llmproxy/config/snapshot.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::config {

/// Environment variables by name.
using Environment = std::map<std::string, std::string>;

/// What loading came to.
/// Invariant: `snapshot` is null if and only if `problems` is not empty.
struct Loaded {
    std::shared_ptr<const Snapshot> snapshot;
    std::vector<Problem> problems;  ///< all that were found, in the order of the field table
};

/// The variables of this process, copied.
[[nodiscard]] Environment process_environment();

/// Reads, types and validates a file: built-in default < file < environment (`LLM_PROXY_` + path).
///
/// Reads the file and the secret files that it names, so it blocks: not for pool threads.
/// Fails by problems, never by exceptions (memory excepted).
/// Relative paths are relative to the working directory.
[[nodiscard]] Loaded load_file(const std::string& path, const Environment& environment);

/// The same for YAML text at hand; `file` is the name shown in problems.
[[nodiscard]] Loaded load_text(std::string_view text, std::string file,
                               const Environment& environment);

/// Opens every PEM file that the configuration names: readable, key belongs to certificate, not
/// expired (only a warning). Blocks on the disk. Files that are right give no entry.
[[nodiscard]] std::vector<Problem> check_files(const Snapshot& snapshot);

/// `load_file`, then `check_files`: what a start and a reload ask for. The latter's warnings are the snapshot's.
[[nodiscard]] Loaded load_with_files(const std::string& path, const Environment& environment);

/// The keys that differ between two configurations and take effect only at the next start, sorted.
[[nodiscard]] std::vector<std::string> needs_restart(const Snapshot& running, const Snapshot& next);

}  // namespace llmproxy::config
