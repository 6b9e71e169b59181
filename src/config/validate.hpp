#pragma once

#include "llmproxy/config/problem.hpp"
#include "llmproxy/config/snapshot.hpp"

#include <vector>

namespace llmproxy::config {

/// Checks what no single field can tell: names, addresses, URLs, what refers to what.
/// Adds to `problems` (not for keys that have one already) and to the snapshot's warnings; disables
/// backends whose key resolved to nothing.
void validate(Snapshot& snapshot, std::vector<Problem>& problems);

}  // namespace llmproxy::config
