#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

namespace llmproxy::http {

/// Why a tunnel ended.
enum class TunnelEnd : std::uint8_t {
    open,             ///< it has not
    client_closed,    ///< both sides ended, the client first
    upstream_closed,  ///< both sides ended, the upstream first
    client_reset,     ///< the client's connection broke
    upstream_reset,   ///< the upstream's connection broke
    idle_timeout,     ///< nothing moved for the idle limit
    drained           ///< ended by the shutdown of this program
};

/// The word for logs and metrics; static text.
[[nodiscard]] std::string_view to_string(TunnelEnd end) noexcept;

/// Bytes that have gone through a tunnel, and how it ended.
struct TunnelTraffic {
    std::uint64_t from_client = 0;
    std::uint64_t from_upstream = 0;
    TunnelEnd end = TunnelEnd::open;
};

/// The upstream's half of a tunnel that a handler has made and leaves to the session to relay.
struct PendingTunnel {
    PendingTunnel(net::Stream the_upstream, net::Buffer the_first, core::Duration idle)
        : upstream(std::move(the_upstream)), first(std::move(the_first)), idle_limit(idle)
    {
    }
    net::Stream upstream;
    net::Buffer first;  ///< bytes of the upstream that were read already
    core::Duration idle_limit;
    core::Duration progress_interval{0};  ///< between two lines about a tunnel that lasts; 0: none
    /// Called once when both ends are done with, awaited on the session's strand; may be empty. Gives another word for how
    /// it ended, static text, or nothing.
    std::function<core::Task<std::string_view>(const TunnelTraffic&, core::Duration)> on_end;
};

/// Passes bytes both ways until both sides have ended, with half-close each way.
///
/// Bytes already read (`client_first`, `upstream_first`) go first. One piece is under way in each direction, so a side that
/// does not take what it is sent slows the other down. A quiet tunnel holds no buffer and no pipe; much data between plain
/// sockets goes by splice(2). Where a side breaks, nothing moves for `idle_limit`, or the watchdog is stopped, both are reset,
/// so that neither can take what it got for complete. TLS without close_notify counts as an end: what is inside has its own.
/// Runs on the session's strand; every reference outlives it. `traffic` is kept up to date all the while.
core::Task<void> relay_tunnel(net::Stream& client, net::Buffer& client_first, net::Stream& upstream,
                              net::Buffer& upstream_first, net::Watchdog& watchdog,
                              core::Duration idle_limit, TunnelTraffic& traffic);

}  // namespace llmproxy::http
