#include "llmproxy/net/stream.hpp"

#include "llmproxy/net/tls_context.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

error_code errno_code() noexcept
{
    return {errno, boost::system::system_category()};
}

}  // namespace

Stream::Stream(Socket socket, Needs needs) : socket_(std::move(socket))
{
    if (needs == Needs::nothing) {
        return;
    }
    error_code ignored;  // a socket that has just been reset fails at its first read instead
    socket_.non_blocking(true, ignored);
    const int fd = socket_.native_handle();
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (needs == Needs::all) {
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
}

Stream::~Stream() = default;

error_code Stream::ssl_failure(int returned) noexcept
{
    const int kind = SSL_get_error(ssl_.get(), returned);
    const int system = errno;
    switch (kind) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN: return asio::error::eof;
    case SSL_ERROR_SYSCALL:
        broken_ = true;
        return system == 0 ? truncated_error()
                           : error_code(system, boost::system::system_category());
    default: {
        broken_ = true;
        const auto code = ERR_peek_error();
        ERR_clear_error();
        return tls_error(code);
    }
    }
}

core::Task<Stream::Waited> Stream::wait(bool for_read)
{
    return socket_.async_wait(for_read ? Socket::wait_read : Socket::wait_write, kTuple);
}

core::Task<IoResult<void>> Stream::handshake()
{
    for (;;) {
        ERR_clear_error();
        errno = 0;
        const int returned = SSL_do_handshake(ssl_.get());
        if (returned == 1) {
            co_return IoResult<void>();
        }
        const bool for_read = SSL_want_write(ssl_.get()) == 0;
        const auto code = ssl_failure(returned);
        if (code != asio::error::would_block) {
            broken_ = true;
            co_return code == asio::error::eof ? truncated_error() : code;
        }
        const auto [failure] = co_await wait(for_read);
        if (failure) {
            broken_ = true;
            co_return failure;
        }
    }
}

core::Task<IoResult<void>> Stream::accept_tls(std::shared_ptr<SSL_CTX> context)
{
    ssl_.reset(SSL_new(context.get()));
    context_ = std::move(context);
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) {
        co_return tls_error(ERR_get_error());
    }
    SSL_set_accept_state(ssl_.get());
    co_return co_await handshake();
}

core::Task<IoResult<void>> Stream::connect_tls(std::shared_ptr<SSL_CTX> context, std::string host)
{
    ssl_.reset(SSL_new(context.get()));
    context_ = std::move(context);
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) {
        co_return tls_error(ERR_get_error());
    }
    error_code not_an_address;
    asio::ip::make_address(host, not_an_address);
    if (not_an_address) {
        SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) != 1 ||
            SSL_set1_host(ssl_.get(), host.c_str()) != 1) {
            co_return tls_error(ERR_get_error());
        }
    } else if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str()) != 1) {
        co_return tls_error(ERR_get_error());
    }
    offer_session(ssl_.get(), context_.get());
    SSL_set_connect_state(ssl_.get());
    co_return co_await handshake();
}

std::string Stream::verify_error() const
{
    const long code = ssl_ ? SSL_get_verify_result(ssl_.get()) : X509_V_OK;
    return code == X509_V_OK ? std::string() : X509_verify_cert_error_string(code);
}

IoResult<std::size_t> Stream::try_read(std::span<char> into)
{
    if (!ssl_) {
        const auto count = ::recv(socket_.native_handle(), into.data(), into.size(), MSG_DONTWAIT);
        if (count >= 0) {
            return static_cast<std::size_t>(count);
        }
        if (errno == EAGAIN || errno == EINTR) {
            return error_code(asio::error::would_block);
        }
        return errno_code();
    }
    if (broken_) {
        return failure_ ? std::exchange(failure_, error_code())
                        : error_code(asio::error::not_connected);
    }
    // Small records that came together are one piece: what OpenSSL has read ahead costs no system call.
    std::size_t filled = 0;
    do {
        ERR_clear_error();
        errno = 0;
        std::size_t count = 0;
        const int returned =
            SSL_read_ex(ssl_.get(), into.data() + filled, into.size() - filled, &count);
        if (returned != 1) {
            const auto code = ssl_failure(returned);
            if (filled == 0) {
                return code == asio::error::eof ? IoResult<std::size_t>(0) : code;
            }
            if (broken_) {
                failure_ = code;  // what was read before it comes first
            }
            return filled;
        }
        filled += count;
    } while (filled < into.size() && SSL_has_pending(ssl_.get()) == 1);
    return filled;
}

core::Task<IoResult<std::size_t>> Stream::read_some(std::span<char> into)
{
    if (!ssl_) {
        auto [code, count] =
            co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), kTuple);
        if (code == asio::error::eof) {
            co_return std::size_t{0};
        }
        if (code) {
            co_return code;
        }
        co_return count;
    }
    for (;;) {
        auto got = try_read(into);
        if (got || got.error() != asio::error::would_block) {
            co_return got;
        }
        const auto [failure] = co_await wait(SSL_want_write(ssl_.get()) == 0);
        if (failure) {
            broken_ = true;
            co_return failure;
        }
    }
}

core::Task<IoResult<void>> Stream::wait_readable()
{
    if (readable_now()) {
        co_return IoResult<void>();
    }
    const auto [code] = co_await until_readable();
    if (code) {
        co_return code;
    }
    co_return IoResult<void>();
}

bool Stream::readable_now() noexcept
{
    if (!ssl_) {
        return false;
    }
    // Pending may be a part of a record only, so what counts is whether a byte can be had.
    if (broken_ || SSL_pending(ssl_.get()) > 0) {
        return true;
    }
    if (SSL_has_pending(ssl_.get()) != 1) {
        return false;
    }
    ERR_clear_error();
    errno = 0;
    char byte = 0;
    std::size_t count = 0;
    const int returned = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
    return returned == 1 || ssl_failure(returned) != asio::error::would_block;
}

core::Task<Stream::Waited> Stream::until_readable()
{
    if (ssl_) {
        // Between reads OpenSSL may keep its buffer of 16 KiB, empty, whatever SSL_MODE_RELEASE_BUFFERS says.
        SSL_free_buffers(ssl_.get());
    }
    return wait(!ssl_ || SSL_want_write(ssl_.get()) == 0);
}

void Stream::shutdown_write() noexcept
{
    if (ssl_ && !broken_ && SSL_is_init_finished(ssl_.get()) == 1) {
        ERR_clear_error();
        SSL_shutdown(ssl_.get());
        ERR_clear_error();
    }
    if (socket_.is_open()) {
        ::shutdown(socket_.native_handle(), SHUT_WR);
    }
}

void Stream::cancel() noexcept
{
    error_code ignored;  // nothing to cancel is fine
    socket_.cancel(ignored);
}

void Stream::close() noexcept
{
    error_code ignored;  // the descriptor is gone either way
    socket_.close(ignored);
}

void Stream::reset() noexcept
{
    if (socket_.is_open()) {
        const linger hard{1, 0};
        ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close();
}

bool Stream::peer_closed() noexcept
{
    pollfd entry{socket_.native_handle(), POLLRDHUP, 0};
    return ::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool Stream::idle_and_alive() noexcept
{
    if (broken_ || !socket_.is_open()) {
        return false;
    }
    char byte = 0;
    const auto there = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    const bool silent = there < 0 && (errno == EAGAIN || errno == EINTR);
    if (!ssl_) {
        return silent;
    }
    if (silent && SSL_has_pending(ssl_.get()) == 0) {
        return true;  // without OpenSSL, which would take a buffer of 16 KiB to find that out
    }
    ERR_clear_error();
    errno = 0;
    std::size_t count = 0;
    const int returned = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
    return returned != 1 && ssl_failure(returned) == asio::error::would_block;
}

}  // namespace llmproxy::net
