#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

/// The benchmark's programs: a fake upstream and a load generator. Linux only, one thread each.
namespace llmproxy::bench {

/// CLOCK_MONOTONIC in nanoseconds: the same clock in both programs, so differences are delays.
[[nodiscard]] std::int64_t now_ns() noexcept;

/// CPU time of this process in nanoseconds.
[[nodiscard]] std::int64_t own_cpu_ns() noexcept;

/// Prints `what` and the current errno, and exits with 1. For start-up only.
[[noreturn]] void fail(std::string_view what);

/// Dies with the program that started this one, and allows as many descriptors as the hard limit.
void prepare_process();

/// One OpenSSL context, TLS 1.2 at least. Move-only.
class TlsContext {
public:
    /// Neither caches sessions nor issues tickets: "a new connection" always means a full handshake
    /// on the client side; a proxy in between may resume towards the upstream if it keeps sessions.
    static TlsContext server(const std::string& certificate, const std::string& key);
    /// Verifies the chain against `ca` and, in each connection, the name given to Socket.
    static TlsContext client(const std::string& ca);

    [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }

private:
    explicit TlsContext(SSL_CTX* context) : context_(context, &SSL_CTX_free) {}
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
};

enum class IoStatus : std::uint8_t { ok, again, closed };

struct IoResult {
    IoStatus status = IoStatus::again;
    std::size_t bytes = 0;
};

/// A non-blocking TCP socket with or without TLS on it. Owns the descriptor; move-only.
///
/// Made for edge-triggered epoll: after an event, read until `again` (or until a plain read comes
/// back short) and write until `again`. The TLS handshake happens inside the first operations.
class Socket {
public:
    Socket() = default;
    Socket(int descriptor, const TlsContext* tls, bool accepting, const char* name = nullptr);
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&& other) noexcept;
    ~Socket();

    /// Starts a connection to 127.0.0.1; completion shows as writability.
    static Socket connect(std::uint16_t port, const TlsContext* tls, const char* name);

    [[nodiscard]] IoResult read(char* data, std::size_t size) noexcept;
    [[nodiscard]] IoResult write(std::string_view data) noexcept;

    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
    [[nodiscard]] bool is_tls() const noexcept { return ssl_ != nullptr; }
    [[nodiscard]] bool is_open() const noexcept { return descriptor_ >= 0; }
    /// Closes at once; TLS sends close_notify if the socket takes it.
    void close() noexcept;

private:
    [[nodiscard]] IoResult tls_result(int returned) const noexcept;

    int descriptor_ = -1;
    SSL* ssl_ = nullptr;
};

/// Listens on a free port of 127.0.0.1; returns the descriptor and stores the port.
[[nodiscard]] int listen_on_free_port(std::uint16_t& port);

/// Adds `descriptor` to `epoll`, edge-triggered for both directions.
void watch(int epoll, int descriptor, std::uint64_t tag);

}  // namespace llmproxy::bench
