#pragma once

#include "llmproxy/core/failure.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::openai {

/// What the gateway has to know of an inference request's JSON body. Offsets are bytes into that body.
struct RequestFacts {
    enum class StreamOptions : std::uint8_t { absent, null, object };

    std::optional<std::string> model;  ///< unescaped
    bool stream = false;
    std::optional<bool> include_usage;  ///< `stream_options.include_usage`, if it was true or false
    std::optional<std::uint64_t>
        max_tokens;  ///< the largest of max_tokens, max_completion_tokens, max_output_tokens
    std::optional<std::uint64_t> n;

    StreamOptions stream_options = StreamOptions::absent;
    std::size_t object_start = 0;  ///< just after the first `{`
    bool object_empty = true;
    std::size_t options_start = 0;  ///< of the value of stream_options; its `{` or its `null`
    bool options_empty = true;
    std::size_t include_usage_start = 0;   ///< of the value of include_usage
    std::size_t include_usage_length = 0;  ///< 0: not there

    /// Whether the client itself asked for the usage block of a stream.
    [[nodiscard]] bool wants_usage() const noexcept { return include_usage.value_or(false); }
};

/// Reads a body once and validates all of it (RFC 8259, UTF-8, at most 512 levels deep).
///
/// `body` keeps its text and size; its capacity grows by a few bytes of padding that the parser may read.
/// Thread safety: may be called from any thread; scratch memory is per thread.
/// Fails with Errc::bad_request, with `param` set where one field is to blame: broken JSON, not an object,
/// a wrong type, or a second `model`, `stream`, `stream_options`, `max_tokens`, `max_completion_tokens`,
/// `max_output_tokens`, `n` (also when written with escapes). `null` counts as absent except for `model`.
[[nodiscard]] core::Result<RequestFacts> read_facts(std::string& body);

/// A change to a body: `remove` bytes at `offset` give way to `text`.
struct Splice {
    std::size_t offset = 0;
    std::size_t remove = 0;
    std::string text;
};

/// The change that makes an upstream tell the usage of a stream; nothing if the body does not stream or asks
/// for it already. Whoever applies it hides the usage block from the client.
[[nodiscard]] std::optional<Splice> usage_splice(const RequestFacts& facts);

/// The change that puts another model into a body that `read_facts` has accepted; nothing if it names none.
/// \param model_json  JSON text with its quotes.
[[nodiscard]] std::optional<Splice> model_splice(std::string& body, std::string_view model_json);

/// `body` with the change made; for callers that do not write the three parts one after another.
[[nodiscard]] std::string spliced(std::string_view body, const Splice& splice);

}  // namespace llmproxy::openai
