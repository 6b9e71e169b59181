#pragma once

#include "call.hpp"

#include "llmproxy/http/exchange.hpp"

#include <string_view>

namespace llmproxy::handlers::manage {

/// Answers with `reply`; a stream chunk by chunk, or until the end of the connection for HTTP/1.0.
/// A stream that fails on the way is cut, so that it cannot be taken for complete.
/// \param fields  complete field lines of every answer.
core::Task<void> send(http::Exchange& exchange, Reply reply, std::string_view fields);

}  // namespace llmproxy::handlers::manage
