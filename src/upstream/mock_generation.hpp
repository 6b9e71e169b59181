#pragma once

#include "mock_json.hpp"
#include "mock_replies.hpp"

namespace llmproxy::upstream::mock {

/// The routes that generate text. `request` is the parsed body, `model` its model without knobs; an
/// error reply when the request lacks what the route needs.
[[nodiscard]] Reply chat_reply(const Call& call, const Json& request, const Model& model);
[[nodiscard]] Reply completion_reply(const Call& call, const Json& request, const Model& model);
[[nodiscard]] Reply responses_reply(const Call& call, const Json& request, const Model& model);

/// Whether the client asked for a stream of events.
[[nodiscard]] bool wants_stream(const Json& request);

}  // namespace llmproxy::upstream::mock
