#pragma once

#include "llmproxy/config/snapshot.hpp"

#include <string>

namespace llmproxy::config {

// All of these are made from the field table, so they cannot disagree with the loader.

/// The reference page (`docs/configuration.md`), in Markdown.
[[nodiscard]] std::string reference_markdown();

/// JSON Schema (draft 2020-12) of the file, for editors.
[[nodiscard]] std::string schema_json();

/// A commented example that loads as it is (`config/llm-proxy.example.yaml`).
[[nodiscard]] std::string example_yaml();

/// Every setting as it is in force, as YAML; secrets and header values are `***`.
[[nodiscard]] std::string effective_yaml(const Snapshot& snapshot);

}  // namespace llmproxy::config
