#include "support/wire.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace llmproxy::test {

namespace {

int milliseconds_until(TestTime until)
{
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    return left.count() > 0 ? static_cast<int>(left.count()) : 0;
}

[[noreturn]] void fail(const char* what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

void prepare(int fd)
{
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept
{
    if (this != &other) {
        close();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

Fd::~Fd()
{
    close();
}

void Fd::close() noexcept
{
    if (fd_ >= 0) {
        ::close(std::exchange(fd_, -1));
    }
}

Gate::Gate() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
{
    if (!fd_) {
        fail("eventfd");
    }
}

Gate::~Gate()
{
    // What tells a test that a wait is over may be a socket, of which ThreadSanitizer knows nothing.
    const std::lock_guard lock(mutex_);
}

void Gate::open(std::uint64_t times)
{
    const std::lock_guard lock(mutex_);
    if (::write(fd_.get(), &times, sizeof times) != static_cast<ssize_t>(sizeof times)) {
        fail("eventfd write");
    }
}

int Gate::fd() const noexcept
{
    const std::lock_guard lock(mutex_);
    return fd_.get();
}

bool Gate::take()
{
    const std::lock_guard lock(mutex_);
    std::uint64_t one = 0;
    return ::read(fd_.get(), &one, sizeof one) == static_cast<ssize_t>(sizeof one);
}

bool Gate::wait()
{
    const auto until = std::chrono::steady_clock::now() + kGuard;
    while (!take()) {
        pollfd item{fd(), POLLIN, 0};
        if (::poll(&item, 1, milliseconds_until(until)) == 0) {
            return false;
        }
    }
    return true;
}

Wire::Wire(Fd fd) : fd_(std::move(fd))
{
    prepare(fd_.get());
}

Wire Wire::connect(std::uint16_t port, bool ipv6)
{
    Fd fd(::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) {
        fail("socket");
    }
    const SocketAddress to(ipv6 ? "::1" : "127.0.0.1", port);
    const int result = ::connect(fd.get(), to.get(), to.size);
    if (result != 0) {
        fail("connect");
    }
    return Wire(std::move(fd));
}

bool Wire::wait(short events, TestTime until) const
{
    pollfd item{fd_.get(), events, 0};
    int ready = 0;
    do {
        ready = ::poll(&item, 1, milliseconds_until(until));
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

namespace {

/// OpenSSL writes without MSG_NOSIGNAL; whoever is written to may have closed already.
void ignore_broken_pipes()
{
    [[maybe_unused]] static const auto before = std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace

bool Wire::connect_tls(const std::shared_ptr<SSL_CTX>& context, const std::string& sni)
{
    ignore_broken_pipes();
    ssl_.reset(SSL_new(context.get()));
    if (!sni.empty()) {
        SSL_set_tlsext_host_name(ssl_.get(), sni.c_str());
        SSL_set1_host(ssl_.get(), sni.c_str());
    }
    return handshake(true);
}

bool Wire::accept_tls(const std::shared_ptr<SSL_CTX>& context)
{
    ignore_broken_pipes();
    ssl_.reset(SSL_new(context.get()));
    return handshake(false);
}

bool Wire::handshake(bool client)
{
    SSL_set_fd(ssl_.get(), fd_.get());
    const auto until = std::chrono::steady_clock::now() + kGuard;
    for (;;) {
        ERR_clear_error();
        const int result = client ? SSL_connect(ssl_.get()) : SSL_accept(ssl_.get());
        if (result == 1) {
            return true;
        }
        const int error = SSL_get_error(ssl_.get(), result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            const auto code = ERR_peek_error();
            const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
            tls_error_ = reason != nullptr ? reason : "connection ended";
            return false;
        }
        if (!wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until)) {
            tls_error_ = "timeout";
            return false;
        }
    }
}

long Wire::send_now(std::string_view bytes)
{
    if (ssl_ != nullptr) {
        ERR_clear_error();
        const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
        if (sent > 0) {
            return sent;
        }
        const int error = SSL_get_error(ssl_.get(), sent);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
        return sent;
    }
    reset_seen_ = reset_seen_ || errno == ECONNRESET;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

bool Wire::send(std::string_view bytes)
{
    const auto until = std::chrono::steady_clock::now() + kGuard;
    while (!bytes.empty()) {
        const long sent = is_open() ? send_now(bytes) : -1;
        if (sent < 0 || (sent == 0 && !wait(POLLOUT, until))) {
            return false;
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

bool Wire::readable(std::chrono::milliseconds limit)
{
    if (ssl_ != nullptr && SSL_pending(ssl_.get()) > 0) {
        return true;
    }
    return wait(POLLIN, std::chrono::steady_clock::now() + limit);
}

ReadEnd Wire::read(std::string& into, std::chrono::milliseconds limit)
{
    const auto until = std::chrono::steady_clock::now() + limit;
    char buffer[65536];
    while (is_open()) {
        if (ssl_ != nullptr) {
            ERR_clear_error();
            errno = 0;
            const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
            if (got > 0) {
                into.append(buffer, static_cast<std::size_t>(got));
                return ReadEnd::data;
            }
            const int error = SSL_get_error(ssl_.get(), got);
            if (error == SSL_ERROR_ZERO_RETURN) {
                return ReadEnd::fin;
            }
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                const auto code = ERR_peek_error();
                if (code != 0 && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
                    return ReadEnd::truncated_tls;
                }
                const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
                tls_error_ = reason != nullptr ? reason : "";
                return error == SSL_ERROR_SYSCALL ? ReadEnd::reset : ReadEnd::failed;
            }
        } else {
            const auto got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
            if (got > 0) {
                into.append(buffer, static_cast<std::size_t>(got));
                return ReadEnd::data;
            }
            if (got == 0) {
                return reset_seen_ ? ReadEnd::reset : ReadEnd::fin;
            }
            if (errno != EAGAIN && errno != EINTR) {
                return ReadEnd::reset;
            }
        }
        if (!wait(POLLIN, until)) {
            return ReadEnd::timeout;
        }
    }
    return ReadEnd::failed;
}

void Wire::half_close(bool abrupt)
{
    if (ssl_ != nullptr && !abrupt) {
        SSL_shutdown(ssl_.get());
    }
    ::shutdown(fd_.get(), SHUT_WR);
}

void Wire::reset()
{
    const linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
}

void Wire::close()
{
    ssl_.reset();
    fd_.close();
}

void Wire::shutdown_both() noexcept
{
    ::shutdown(fd_.get(), SHUT_RDWR);
}

SocketAddress::SocketAddress(const std::string& literal, std::uint16_t port)
{
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (::inet_pton(AF_INET, literal.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        size = sizeof *v4;
    } else if (::inet_pton(AF_INET6, literal.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        size = sizeof *v6;
    } else {
        throw std::invalid_argument("no address: " + literal);
    }
}

Listening listen_local(int backlog, std::uint16_t port, const std::string& address)
{
    Listening made;
    SocketAddress at(address, port);
    made.fd = Fd(::socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(made.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    auto* const bound = reinterpret_cast<sockaddr*>(&at.storage);
    if (::bind(made.fd.get(), bound, at.size) != 0 || ::listen(made.fd.get(), backlog) != 0 ||
        ::getsockname(made.fd.get(), bound, &at.size) != 0) {
        fail("listen");
    }
    // The port is at the same place in both families.
    made.port = ntohs(reinterpret_cast<const sockaddr_in*>(&at.storage)->sin_port);
    return made;
}

}  // namespace llmproxy::test
