#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <openssl/ssl.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <utility>

namespace llmproxy::test {

/// How long a test waits for what must happen. Passing tests never reach it.
inline constexpr std::chrono::seconds kGuard{20};

using TestTime = std::chrono::steady_clock::time_point;

/// A descriptor that closes itself.
class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) noexcept : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd();
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
    void close() noexcept;

private:
    int fd_ = -1;
};

/// Something a test opens so that a thread waiting for it goes on. Counts: each open lets one wait through.
/// Thread safety: every member may be called concurrently.
/// Lifetime: may be destroyed once the waits that it let through have returned.
class Gate {
public:
    Gate();
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    ~Gate();
    void open(std::uint64_t times = 1);
    /// Waits at most `kGuard`; false if nobody opened it.
    bool wait();
    /// Readable while the gate is open; `take` uses one opening up.
    [[nodiscard]] int fd() const noexcept;
    bool take();

private:
    mutable std::mutex mutex_;  // orders every use before the destructor
    Fd fd_;
};

enum class ReadEnd : std::uint8_t { data, fin, reset, timeout, truncated_tls, failed };

/// A blocking connection with a guard on every wait; plain, or TLS after one of the handshakes.
/// Built on POSIX sockets and OpenSSL alone, so that it cannot share a fault with the code under test.
/// Thread safety: none, but for `shutdown_both`.
class Wire {
public:
    Wire() = default;
    /// Takes a connected socket; makes it non-blocking and NODELAY.
    explicit Wire(Fd fd);
    Wire(Wire&&) noexcept = default;
    Wire& operator=(Wire&&) noexcept = default;
    ~Wire() = default;

    /// Connects to 127.0.0.1 (or ::1); throws std::system_error on failure.
    static Wire connect(std::uint16_t port, bool ipv6 = false);

    /// TLS handshake; false with the reason in `tls_error` if it fails.
    bool connect_tls(const std::shared_ptr<SSL_CTX>& context, const std::string& sni);
    bool accept_tls(const std::shared_ptr<SSL_CTX>& context);
    [[nodiscard]] const std::string& tls_error() const noexcept { return tls_error_; }
    [[nodiscard]] SSL* ssl() const noexcept { return ssl_.get(); }

    /// Sends all of it; false if the other side is gone or takes nothing for `kGuard`.
    bool send(std::string_view bytes);
    /// Sends what the socket takes without waiting; the number of bytes, or -1 if the other side is gone.
    long send_now(std::string_view bytes);
    /// Appends one read to `into`.
    ReadEnd read(std::string& into, std::chrono::milliseconds limit = kGuard);
    /// Whether bytes (or an end) can be read now.
    [[nodiscard]] bool readable(std::chrono::milliseconds limit = std::chrono::milliseconds(0));

    /// FIN; close_notify before it with TLS unless `abrupt`.
    void half_close(bool abrupt = false);
    /// Closes with RST.
    void reset();
    void close();
    /// Wakes whoever is blocked on this connection; may be called from another thread.
    void shutdown_both() noexcept;
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }

private:
    struct SslFree {
        void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    };
    bool handshake(bool client);
    bool wait(short events, TestTime until) const;

    Fd fd_;
    std::unique_ptr<SSL, SslFree> ssl_;
    std::string tls_error_;
    bool reset_seen_ =
        false;  // a failed send takes the socket's error, so that a read would see an end
};

/// A listening socket on a loopback address (127.0.0.1 unless given, of either family), port 0 unless given.
struct Listening {
    Fd fd;
    std::uint16_t port = 0;
};
[[nodiscard]] Listening listen_local(int backlog = 256, std::uint16_t port = 0,
                                     const std::string& address = "127.0.0.1");

/// The socket address of a literal; throws std::invalid_argument for anything else.
struct SocketAddress {
    SocketAddress(const std::string& literal, std::uint16_t port);
    [[nodiscard]] const sockaddr* get() const noexcept
    {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
    sockaddr_storage storage{};
    socklen_t size = 0;
};

}  // namespace llmproxy::test
