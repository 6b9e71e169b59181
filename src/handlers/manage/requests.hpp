#pragma once

#include "call.hpp"
#include "shape.hpp"

#include "llmproxy/telemetry/recent_requests.hpp"

#include <vector>

namespace llmproxy::handlers::manage {

/// The parameters that say which requests.
[[nodiscard]] std::vector<Property> request_filters();
[[nodiscard]] telemetry::RecentRequests::Wanted wanted_of(const Call& call);

/// A finished request as callers see it: its number, then what a line of the access log says, with
/// `tries` always there.
[[nodiscard]] Json show_request(const telemetry::RecentRequests::Entry& entry);

/// `GET /manage/requests/tail`: requests as they finish, as server-sent events.
core::Task<core::Result<Reply>> tail_requests(ManageParts& parts, Call& call);

}  // namespace llmproxy::handlers::manage
