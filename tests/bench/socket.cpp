#include "socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

namespace llmproxy::bench {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

std::int64_t read_clock(clockid_t clock) noexcept
{
    timespec value{};
    ::clock_gettime(clock, &value);
    return value.tv_sec * kNanosPerSecond + value.tv_nsec;
}

sockaddr_in loopback(std::uint16_t port) noexcept
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

SSL_CTX* make_context(const SSL_METHOD* method)
{
    SSL_CTX* context = SSL_CTX_new(method);
    if (context == nullptr) {
        fail("SSL_CTX_new");
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    return context;
}

int clamp_size(std::size_t size) noexcept
{
    return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
}

}  // namespace

std::int64_t now_ns() noexcept
{
    return read_clock(CLOCK_MONOTONIC);
}

std::int64_t own_cpu_ns() noexcept
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void fail(std::string_view what)
{
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(what.size()), what.data(),
                 std::strerror(errno));
    std::exit(1);
}

void prepare_process()
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGPIPE, SIG_IGN);
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

TlsContext TlsContext::server(const std::string& certificate, const std::string& key)
{
    TlsContext result(make_context(TLS_server_method()));
    if (SSL_CTX_use_certificate_chain_file(result.get(), certificate.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(result.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
        fail("certificate or key");
    }
    return result;
}

TlsContext TlsContext::client(const std::string& ca)
{
    TlsContext result(make_context(TLS_client_method()));
    if (SSL_CTX_load_verify_locations(result.get(), ca.c_str(), nullptr) != 1) {
        fail("CA file");
    }
    SSL_CTX_set_verify(result.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(result.get(), SSL_SESS_CACHE_OFF);
    return result;
}

Socket::Socket(int descriptor, const TlsContext* tls, bool accepting, const char* name)
    : descriptor_(descriptor)
{
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls == nullptr) {
        return;
    }
    ssl_ = SSL_new(tls->get());
    if (ssl_ == nullptr || SSL_set_fd(ssl_, descriptor_) != 1) {
        fail("SSL_new");
    }
    if (accepting) {
        SSL_set_accept_state(ssl_);
        return;
    }
    SSL_set_connect_state(ssl_);
    if (name != nullptr) {
        SSL_set_tlsext_host_name(ssl_, name);
        SSL_set1_host(ssl_, name);
    }
}

Socket::Socket(Socket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), ssl_(std::exchange(other.ssl_, nullptr))
{
}

Socket& Socket::operator=(Socket&& other) noexcept
{
    if (this != &other) {
        close();
        descriptor_ = std::exchange(other.descriptor_, -1);
        ssl_ = std::exchange(other.ssl_, nullptr);
    }
    return *this;
}

Socket::~Socket()
{
    close();
}

Socket Socket::connect(std::uint16_t port, const TlsContext* tls, const char* name)
{
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        fail("socket");
    }
    const sockaddr_in address = loopback(port);
    if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS) {
        ::close(descriptor);
        return {};
    }
    return {descriptor, tls, false, name};
}

IoResult Socket::read(char* data, std::size_t size) noexcept
{
    if (ssl_ != nullptr) {
        ERR_clear_error();
        return tls_result(SSL_read(ssl_, data, clamp_size(size)));
    }
    const ssize_t received = ::recv(descriptor_, data, size, 0);
    if (received > 0) {
        return {IoStatus::ok, static_cast<std::size_t>(received)};
    }
    const bool wait = received < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN);
    return {wait ? IoStatus::again : IoStatus::closed, 0};
}

IoResult Socket::write(std::string_view data) noexcept
{
    if (ssl_ != nullptr) {
        ERR_clear_error();
        return tls_result(SSL_write(ssl_, data.data(), clamp_size(data.size())));
    }
    const ssize_t sent = ::send(descriptor_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
        return {IoStatus::ok, static_cast<std::size_t>(sent)};
    }
    const bool wait = errno == EAGAIN || errno == EINTR || errno == ENOTCONN;
    return {wait ? IoStatus::again : IoStatus::closed, 0};
}

IoResult Socket::tls_result(int returned) const noexcept
{
    if (returned > 0) {
        return {IoStatus::ok, static_cast<std::size_t>(returned)};
    }
    const int why = SSL_get_error(ssl_, returned);
    const bool wait = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ||
                      (why == SSL_ERROR_SYSCALL && (errno == EAGAIN || errno == ENOTCONN));
    return {wait ? IoStatus::again : IoStatus::closed, 0};
}

void Socket::close() noexcept
{
    if (ssl_ != nullptr) {
        ERR_clear_error();
        SSL_shutdown(ssl_);
        SSL_free(std::exchange(ssl_, nullptr));
    }
    if (descriptor_ >= 0) {
        ::close(std::exchange(descriptor_, -1));
    }
}

int listen_on_free_port(std::uint16_t& port)
{
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (descriptor < 0 ||
        ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
        ::listen(descriptor, SOMAXCONN) != 0 ||
        ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        fail("listen");
    }
    port = ntohs(address.sin_port);
    return descriptor;
}

void watch(int epoll, int descriptor, std::uint64_t tag)
{
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = tag;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
        fail("epoll_ctl");
    }
}

}  // namespace llmproxy::bench
