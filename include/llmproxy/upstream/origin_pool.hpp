#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/upstream/backend.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::upstream {

/// Idle connections of the forward proxy to origins, which are whatever clients ask for: so many in all, and the ones
/// that idled longest go first.
/// Thread safety: every member may be called concurrently. Lifetime: shared; leases keep it alive.
class OriginPool final : public ConnectionPool, public std::enable_shared_from_this<OriginPool> {
public:
    using Endpoint = boost::asio::ip::tcp::endpoint;

    static constexpr std::size_t kMostIdle = 256;
    static constexpr std::size_t kMostIdlePerOrigin = 32;

    explicit OriginPool(core::Duration idle_timeout) noexcept : idle_timeout_(idle_timeout) {}

    /// An idle connection to `origin` (`host:port`) that is alive and goes to one of the endpoints vetted for this request;
    /// null if there is none. Others of that origin are closed.
    [[nodiscard]] std::unique_ptr<Connection> take(std::string_view origin,
                                                   std::span<const Endpoint> vetted);
    /// A lease whose connection comes back here when it is kept.
    [[nodiscard]] Lease lease(std::unique_ptr<Connection> connection, bool reused);
    void give_back(std::unique_ptr<Connection> connection) noexcept override;

    /// Closes connections that idled too long or that the other side has closed.
    void sweep(core::SteadyTime now);
    void close_idle() noexcept;
    void set_idle_timeout(core::Duration idle_timeout);
    [[nodiscard]] std::size_t idle() const;

private:
    using List = std::list<std::unique_ptr<Connection>>;

    mutable std::mutex mutex_;
    core::Duration idle_timeout_;
    List idle_;  // newest at the front
    std::map<std::string, std::size_t, std::less<>> per_origin_;

    std::unique_ptr<Connection> remove(List::iterator at);
};

/// The address that a connected stream goes to; unspecified for what is not TCP.
[[nodiscard]] boost::asio::ip::tcp::endpoint remote_endpoint(net::Stream& stream) noexcept;
/// `address:port`, IPv6 in brackets.
[[nodiscard]] std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace llmproxy::upstream
