#pragma once

#include "mock_json.hpp"
#include "mock_knobs.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::upstream::mock {

/// Appends the text of a `content` or `prompt`: a string, or an array of strings and of parts that
/// have a `text`.
void append_text(std::string& out, const Json& content);

/// Bytes of text in an array of messages.
[[nodiscard]] std::uint64_t bytes_of_messages(const Json& messages);

/// Text of the last message whose role is `user`; empty if there is none.
[[nodiscard]] std::string last_user_text(const Json& messages);

/// What the model answers to `said`: an echo of its first 4 KiB, repeated until it has a character
/// for each chunk; with the knob `bytes`, that many bytes of filler.
[[nodiscard]] std::string reply_text(std::string_view said, const Knobs& knobs);

}  // namespace llmproxy::upstream::mock
