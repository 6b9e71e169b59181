#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/openai/route.hpp"

#include <cstdint>
#include <string>

namespace llmproxy::openai {

/// The event that ends a stream which was cut at an event boundary: `data: {"error":{...}}`, or on
/// Route::responses `event: error` with that API's own shape.
/// \param sequence_number  for Route::responses: one more than the last event's, if known.
[[nodiscard]] std::string stream_error_event(Route route, const core::Failure& failure,
                                             std::uint64_t sequence_number = 0);

}  // namespace llmproxy::openai
