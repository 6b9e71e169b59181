#pragma once

#include "llmproxy/core/task.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/upstream/backend.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace llmproxy::pipeline {

/// Gives connections to the origin of one request. Lives on the session's strand.
class OriginConnections {
public:
    virtual ~OriginConnections() = default;
    /// \param fresh  a new connection, even if idle ones are there.
    virtual core::Task<core::Result<upstream::Lease>> lease(bool fresh) = 0;
};

/// An absolute-form request on its way to its origin.
class ForwardRequest {
public:
    ForwardRequest(std::string origin_target, std::string host, core::Duration idle)
        : target(std::move(origin_target)), host_field(std::move(host)), tunnel_idle(idle)
    {
    }
    std::string target;          ///< in origin-form, or `*`
    std::string host_field;      ///< value of the Host field
    core::Duration tunnel_idle;  ///< idle limit after an upgrade
    core::Duration progress_interval{0};
    std::optional<std::uint64_t> max_forwards;  ///< value of the field that goes on, if one does
};

/// Sends the exchange's request to its origin and relays the reply, bodies piece by piece both ways (RFC 9110, section 7.6).
///
/// Hop-by-hop and Connection-named fields, `Proxy-*` and trailers stay behind on both sides, our name is appended to Via;
/// credentials pass unless they are tokens of ours. `Expect: 100-continue` is the origin's to answer. After a 101 the connection
/// becomes a tunnel. A pooled connection is used only for what may be sent twice: GET and HEAD without a body.
/// Fails while nothing has gone to the client; afterwards what goes wrong cuts the reply and stands in the record.
/// The referenced objects outlive the task.
core::Task<core::Result<void>> forward_request(http::Exchange& exchange,
                                               std::shared_ptr<const Policies> policies,
                                               const std::string& via_name,
                                               const ForwardRequest& request,
                                               OriginConnections& connections);

}  // namespace llmproxy::pipeline
