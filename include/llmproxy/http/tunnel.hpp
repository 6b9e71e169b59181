#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <cstdint>

namespace llmproxy::http {

/// What went through a tunnel, in bytes, and how it ended.
struct TunnelEnd {
    std::uint64_t from_client = 0;
    std::uint64_t from_upstream = 0;
    bool idle = false;  ///< ended because nothing moved for the idle limit
};

/// Passes bytes both ways until both sides have ended, with half-close, holding buffers only while bytes are in them.
///
/// Bytes already read (`client_first`, `upstream_first`) go first. Runs on the session's strand; all four references
/// outlive it. Ends when nothing moves for `idle_limit`.
core::Task<TunnelEnd> relay_tunnel(net::Stream& client, net::Buffer& client_first,
                                   net::Stream& upstream, net::Buffer& upstream_first,
                                   net::Watchdog& watchdog, core::Duration idle_limit);

}  // namespace llmproxy::http
