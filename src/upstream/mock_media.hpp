#pragma once

#include "mock_json.hpp"
#include "mock_replies.hpp"

namespace llmproxy::upstream::mock {

/// The routes whose answers are not generated text. An error reply when the request lacks what the
/// route needs.
[[nodiscard]] Reply embeddings_reply(const Call& call, const Json& request, const Model& model);
[[nodiscard]] Reply speech_reply(const Call& call, const Json& request, const Model& model);
/// These two take a call with a complete form.
[[nodiscard]] Reply file_reply(const Call& call);
[[nodiscard]] Reply transcription_reply(const Call& call, const Model& model);

}  // namespace llmproxy::upstream::mock
