#pragma once

#include <cstdint>
#include <string>

namespace llmproxy::openai {

/// What of an inference request's body can cost what its length does not tell.
struct CostFacts {
    bool remote_content = false;  ///< names images or files that the upstream fetches or keeps
    bool hosted_tools = false;    ///< lets the upstream run tools that it bills apart
    bool audio = false;           ///< has, or asks for, audio
    std::uint64_t best_of = 1;
};

/// Reads a body that `read_facts` has accepted, at every depth and with keys unescaped: for requests whose cost is bounded.
/// When in doubt a fact is true. `body` keeps its text. Thread safety: as of `read_facts`.
[[nodiscard]] CostFacts read_cost_facts(std::string& body);

}  // namespace llmproxy::openai
