#pragma once

#include "llmproxy/core/task.hpp"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/result.hpp>

#include <memory>
#include <openssl/ssl.h>
#include <span>
#include <string>
#include <string_view>
#include <tuple>

namespace llmproxy::net {

template <typename T>
using IoResult = boost::system::result<T, boost::system::error_code>;

/// A connection, plain or TLS, TCP or a local socket pair. Every operation is on the socket's descriptor itself;
/// OpenSSL reads and writes it directly and waits are `async_wait` (no buffers of ours in between).
///
/// Thread safety: none. At most one read and one write outstanding, all on one strand.
/// Lifetime: must outlive its operations; `cancel` ends them, then they must be awaited before destruction.
/// Failures: any failed or cancelled TLS operation leaves the stream unusable but for `close` and `reset`.
class Stream {
public:
    using Socket = boost::asio::generic::stream_protocol::socket;

    Stream() = delete;
    /// What a socket still needs. Each is a system call, so that whoever made the socket says what it did already.
    enum class Needs : std::uint8_t {
        all,         ///< to be non-blocking, CLOEXEC, and NODELAY where it is TCP
        descriptor,  ///< the first two: it has the options of its listening socket
        nothing
    };
    /// Takes a connected socket and gives it what it needs.
    explicit Stream(Socket socket, Needs needs = Needs::all);
    Stream(Stream&&) noexcept = default;
    Stream& operator=(Stream&&) noexcept = default;
    ~Stream();

    /// Server and client side of a TLS handshake. The stream speaks TLS from then on.
    /// `context` is kept alive as long as the stream. `host` goes into SNI unless it is an address; it is verified
    /// against the certificate when the context verifies.
    core::Task<IoResult<void>> accept_tls(std::shared_ptr<SSL_CTX> context);
    core::Task<IoResult<void>> connect_tls(std::shared_ptr<SSL_CTX> context, std::string host);
    [[nodiscard]] bool is_tls() const noexcept { return ssl_ != nullptr; }
    /// Why certificate verification failed, for logs; empty if it did not.
    [[nodiscard]] std::string verify_error() const;

    /// Reads what is there, waiting until something is. 0 is a clean end: FIN, or close_notify with TLS;
    /// a FIN without close_notify is `asio::ssl::error::stream_truncated`'s equivalent, kTruncated.
    core::Task<IoResult<std::size_t>> read_some(std::span<char> into);

    /// Reads without waiting; `would_block` if nothing is there.
    IoResult<std::size_t> try_read(std::span<char> into);

    /// Waits until a read would not block, holding no buffer.
    core::Task<IoResult<void>> wait_readable();
    /// The same in two steps, for loops that run for every piece: a read may bring something already, else wait once.
    [[nodiscard]] bool readable_now() noexcept;
    using Waited = std::tuple<boost::system::error_code>;
    core::Task<Waited> until_readable();

    /// Writes all pieces in one gather write where the socket takes it (TLS: flattened into records of 16 KiB).
    /// \param done  bytes at the front of the pieces that have been written before.
    core::Task<IoResult<void>> write(std::span<const std::string_view> pieces,
                                     std::size_t done = 0);
    core::Task<IoResult<void>> write(std::string_view piece);
    /// Writes what the socket takes now, nothing included; how many bytes that were. Waits for nothing.
    IoResult<std::size_t> try_write(std::span<const std::string_view> pieces, std::size_t done = 0);

    /// Sends close_notify if TLS (not waiting for the other side's), then FIN.
    void shutdown_write() noexcept;
    /// Ends outstanding operations with operation_aborted. Same strand only.
    void cancel() noexcept;
    void close() noexcept;
    /// Closes with RST, so that the other side cannot take what it got for complete.
    void reset() noexcept;
    [[nodiscard]] bool is_open() const noexcept { return socket_.is_open(); }

    /// Whether the other side has sent FIN or RST, even behind unread bytes (TCP_INFO; local sockets: peek).
    [[nodiscard]] bool peer_closed() noexcept;
    /// For an idle pooled connection: nothing to read and not closed. Session tickets are not death.
    [[nodiscard]] bool idle_and_alive() noexcept;

    [[nodiscard]] Socket& socket() noexcept { return socket_; }
    [[nodiscard]] SSL* ssl() noexcept { return ssl_.get(); }

private:
    struct SslFree {
        void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    };
    core::Task<IoResult<void>> handshake();
    core::Task<Waited> wait(bool for_read);
    IoResult<std::size_t> write_plain(std::span<const std::string_view> pieces, std::size_t done);
    IoResult<std::size_t> write_tls(std::span<const std::string_view> pieces, std::size_t done);
    boost::system::error_code ssl_failure(int returned) noexcept;

    Socket socket_;
    std::unique_ptr<SSL, SslFree> ssl_;
    std::shared_ptr<SSL_CTX> context_;
    bool broken_ = false;  // after a failed TLS operation only close and reset are left
    boost::system::error_code failure_;  // of a read that had brought bytes before it failed
};

/// A TLS stream that ended without close_notify.
[[nodiscard]] boost::system::error_code truncated_error() noexcept;
/// A TLS failure; the message is OpenSSL's reason.
[[nodiscard]] boost::system::error_code tls_error(unsigned long openssl_code) noexcept;
[[nodiscard]] bool is_tls_error(const boost::system::error_code& code) noexcept;

}  // namespace llmproxy::net
