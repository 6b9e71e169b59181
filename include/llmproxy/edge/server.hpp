#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/edge/handler.hpp"
#include "llmproxy/edge/settings.hpp"
#include "llmproxy/net/task_group.hpp"
#include "llmproxy/telemetry/access_log.hpp"
#include "llmproxy/telemetry/body_log.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/telemetry/recent_requests.hpp"
#include "llmproxy/telemetry/tracer.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmproxy::edge {

/// What the server needs of the rest of the program; all of it outlives the server.
struct ServerParts {
    boost::asio::io_context& context;
    net::TaskGroup& tasks;
    const Routes& routes;
    telemetry::Metrics& metrics;
    telemetry::AccessLog& access_log;
    telemetry::BodyLog& body_log;
    telemetry::RecentRequests& recent;
    const telemetry::Tracer* tracer = nullptr;  ///< null: no traces
};

/// Listens, accepts, speaks TLS, reads request heads through the strict gate, and hands requests to their handlers.
///
/// Every connection is a session on a strand of its own. When connections or descriptors run out, the sessions that
/// have been without a request for longest are closed to make room.
/// Thread safety: every member may be called concurrently, `open` and `close_*` from one thread at a time.
/// Lifetime: sessions are tasks of `ServerParts::tasks` and share what they need; join them before destroying the parts.
class Server {
public:
    Server(ServerParts parts, Settings settings);
    ~Server();

    /// Opens every listener and starts accepting. All or none: fails with Errc::internal, the detail names the listener.
    core::Result<void> open();
    /// The port a listener is on, for port 0 in tests; 0 if there is no such listener.
    [[nodiscard]] std::uint16_t port(std::string_view listener) const;

    /// The address of each open listener, as it was bound.
    [[nodiscard]] std::vector<boost::asio::ip::tcp::endpoint> endpoints() const;

    /// When the certificate of each listener that has one expires, from now.
    [[nodiscard]] std::vector<std::pair<std::string, std::chrono::seconds>> certificates() const;

    /// Timeouts, limits, trusted proxies and certificates from now on; addresses and threads stay as they are.
    /// Fails, and changes nothing, when a certificate cannot be used.
    core::Result<void> reload(Settings settings);

    /// From now on every answer says `Connection: close`.
    void start_draining();
    /// Closes the listeners that serve clients (gateway, forward), or all of them. Accepted connections stay.
    void close_listeners(bool all);
    /// Closes sessions that are between two requests.
    void close_idle();
    /// Ends every session now.
    void stop_sessions();

    /// Requests being answered on listeners that serve clients.
    [[nodiscard]] std::size_t active_requests() const noexcept;
    [[nodiscard]] std::size_t connections() const noexcept;

private:
    struct State;
    class Listener;
    friend class Session;
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::edge
