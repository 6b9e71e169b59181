#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::openai {

/// Token counts as an upstream told them, whatever API named them. Zero where it told nothing.
struct Usage {
    std::uint64_t input_tokens = 0;         ///< prompt_tokens or input_tokens
    std::uint64_t output_tokens = 0;        ///< completion_tokens or output_tokens
    std::uint64_t cached_tokens = 0;        ///< of the input
    std::uint64_t reasoning_tokens = 0;     ///< of the output
    bool present = false;                   ///< a usage object was seen
    std::uint64_t cache_read_tokens = 0;    ///< beside the input, as Anthropic counts
    std::uint64_t cache_write_tokens = 0;   ///< beside the input, as Anthropic counts
    std::uint64_t audio_input_tokens = 0;   ///< of the input
    std::uint64_t audio_output_tokens = 0;  ///< of the output

    /// Every token of the prompt, whether read from a cache, written to one, or neither.
    [[nodiscard]] std::uint64_t all_input() const noexcept
    {
        return input_tokens + cache_read_tokens + cache_write_tokens;
    }
    /// Those of them that were read from a cache.
    [[nodiscard]] std::uint64_t all_cached() const noexcept
    {
        return cached_tokens + cache_read_tokens;
    }

    friend bool operator==(const Usage&, const Usage&) = default;
};

/// What a reply, or one event of a streamed reply, says about itself.
struct ReplyFacts {
    Usage usage;
    std::string model;
    /// Why it ended: `finish_reason` of the first choice, `stop_reason`, or the `status` of a response.
    std::string finish_reason;
    bool ok = false;             ///< it was a JSON object, as far as it was read
    bool empty_choices = false;  ///< has top-level `choices: []`
    bool top_usage = false;      ///< has a top-level `usage` object
    bool error = false;          ///< has a top-level `error` that is not null
};

/// Reads a JSON reply or event: top-level `model`, `usage`, `choices`, `error`, and model and usage of a nested
/// `response` or `message`. Skipped values are not validated. Copies `text` into scratch memory of the thread.
/// \param known  counts told earlier in the same stream; what `text` does not name keeps its value.
[[nodiscard]] ReplyFacts read_reply(std::string_view text, const Usage& known = {});

/// Reads a usage object alone. Fields it does not name keep their value in `usage`.
void read_usage(std::string_view object, Usage& usage);

}  // namespace llmproxy::openai
