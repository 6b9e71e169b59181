#pragma once

#include "call.hpp"
#include "route.hpp"

#include "llmproxy/http/exchange.hpp"

namespace llmproxy::handlers::manage {

inline constexpr std::size_t kMostBody = 128 * 1024;

/// Reads and checks the body that a route takes, into `call.body`. Fails with Errc::bad_request,
/// request_too_large, unsupported_encoding, unsupported_media_type, or as the exchange does.
core::Task<core::Result<void>> read_request(http::Exchange& exchange, const Route& route,
                                            Call& call);

}  // namespace llmproxy::handlers::manage
