#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/secret.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <memory>
#include <openssl/ssl.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::net {

/// An HTTP proxy on the way to a backend, asked by CONNECT (RFC 9110, section 9.3.6).
class EgressProxy {
public:
    /// \param tls            speak TLS to the proxy itself; null for plain.
    /// \param authorization  the value of Proxy-Authorization; empty for none.
    EgressProxy(std::string proxy_host, std::uint16_t proxy_port,
                std::shared_ptr<SSL_CTX> proxy_tls = nullptr,
                core::Secret proxy_authorization = core::Secret())
        : host(std::move(proxy_host)), port(proxy_port), tls(std::move(proxy_tls)),
          authorization(std::move(proxy_authorization))
    {
    }

    std::string host;
    std::uint16_t port;
    std::shared_ptr<SSL_CTX> tls;
    core::Secret authorization;
};

/// Where a connection goes and how.
class ConnectTarget {
public:
    /// \param target_tls  the client context to speak TLS with; null for plain.
    ConnectTarget(std::string target_host, std::uint16_t target_port,
                  std::shared_ptr<SSL_CTX> target_tls = nullptr,
                  std::optional<EgressProxy> egress = std::nullopt)
        : host(std::move(target_host)), port(target_port), tls(std::move(target_tls)),
          proxy(std::move(egress))
    {
    }

    /// TLS inside TLS is not possible: streams are OpenSSL on the descriptor itself. Configuration
    /// refuses it.
    [[nodiscard]] bool is_tls_in_tls() const noexcept { return tls && proxy && proxy->tls; }

    std::string host;
    std::uint16_t port;
    std::shared_ptr<SSL_CTX> tls;
    std::optional<EgressProxy> proxy;
};

/// How long the steps of one connection took. Negative: that step was not made.
struct ConnectTimes {
    core::Duration resolve{-1};
    core::Duration connect{-1};
    core::Duration tls{-1};  ///< the handshake; with an egress proxy, what it was asked before too
};

/// The order of attempts: families alternate, beginning with that of the first endpoint (RFC 8305,
/// section 4).
[[nodiscard]] std::vector<boost::asio::ip::tcp::endpoint>
interleave_families(const std::vector<boost::asio::ip::tcp::endpoint>& endpoints);

/// Connects to whichever endpoint answers first (RFC 8305): the next is tried 250 ms after the one
/// before, or at once when that fails; the losers are closed and awaited before this returns.
///
/// The socket has CLOEXEC, NODELAY, and keep-alive probes after 60 s. Runs on the caller's strand
/// alone. Fails with Errc::upstream_connect_failed: cause `timed_out` at the deadline, else that of
/// the last attempt, all of them in the detail; with Errc::cancelled when the coroutine is
/// cancelled.
core::Task<core::Result<Stream>> connect_tcp(std::vector<boost::asio::ip::tcp::endpoint> endpoints,
                                             core::Deadline deadline);

/// `connect_tcp` for a session: given up as soon as the watchdog ends its waits.
///
/// Runs on the watchdog's strand. Whether a client that leaves is looked for is the caller's choice
/// (`Watchdog::watch_client`). The watchdog has no deadline of its own meanwhile or afterwards.
/// Fails like `connect_tcp`, and with Errc::client_gone, or Errc::cancelled after `Watchdog::stop`.
core::Task<core::Result<Stream>> connect_tcp(std::vector<boost::asio::ip::tcp::endpoint> endpoints,
                                             core::Deadline deadline, Watchdog& watchdog);

/// Resolves, connects, asks the egress proxy if there is one, and makes the TLS handshake; all
/// before `deadline`.
///
/// Nothing of a request has been sent when this fails, so every failure may be retried.
/// With an egress proxy the target's name is resolved by the proxy.
/// Fails with Errc::upstream_connect_failed (cause `timed_out` at the deadline, in whichever step),
/// Errc::upstream_tls_failed (the reason, of verification too, in the detail) or Errc::cancelled.
/// `resolver` must outlive the task, `times` too; it is filled step by step, null: nobody wants to know.
core::Task<core::Result<Stream>> connect(Resolver& resolver, ConnectTarget target,
                                         core::Deadline deadline, ConnectTimes* times = nullptr);

/// `connect` for a session: given up, in whichever step, as soon as the watchdog ends its waits.
///
/// Runs on the watchdog's strand. Whether a client that leaves is looked for is the caller's choice
/// (`Watchdog::watch_client`). The watchdog has no deadline of its own meanwhile or afterwards.
/// Fails like `connect`, and with Errc::client_gone, or Errc::cancelled after `Watchdog::stop`.
core::Task<core::Result<Stream>> connect_while_wanted(Resolver& resolver, ConnectTarget target,
                                                      core::Deadline deadline, Watchdog& watchdog,
                                                      ConnectTimes* times = nullptr);

}  // namespace llmproxy::net
