#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace llmproxy::policy {

/// What an error body or frame says of itself, whoever wrote it.
struct ErrorBody {
    static constexpr std::size_t kMaxName = 64;  ///< longer names are cut; none that counts is

    bool is_error = false;  ///< there is an `error` member, or what stands for one
    unsigned status = 0;    ///< a code or status of 400 to 599, as a number or as text; 0: none
    /// Where the error names its kind, the most telling place first; in lower case.
    enum Place : std::size_t { reason, code, status_name, type };
    std::array<std::string, 4> names;
    std::string retry_delay;  ///< of Gemini's RetryInfo
};

/// Reads JSON text in the shapes of all providers. The text may be cut off: what came before the end or the first
/// mistake counts. Builds no tree and does not recurse. Throws only std::bad_alloc.
///
///     {"error": {"type", "code", "status"}}      OpenAI, Azure, Anthropic, Gemini, vLLM, llama.cpp
///     [{"error": {"details": [{"reason"}]}}]     Gemini
///     {"error": "text"}                          Ollama, vLLM
///     {"object": "error", "type", "code"}        vLLM before 0.10
///     {"statusCode": 429}                        Azure API Management
///     {"type": "error", "code"}                  OpenAI's responses API, in a stream
///     {"type": "response.failed", "response": {"error": {"code"}}}
[[nodiscard]] ErrorBody read_error_body(std::string_view json);

}  // namespace llmproxy::policy
