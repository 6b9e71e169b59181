#include "llmproxy/cli/healthcheck.hpp"

#include "url.hpp"

#include <cstring>
#include <netdb.h>
#include <ostream>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace llmproxy::cli {
namespace {

constexpr timeval kPatience{3, 0};

/// A connected socket, closed at the end; -1 if there is none.
class Connection {
public:
    Connection(const std::string& host, const std::string& port)
    {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
            return;
        }
        for (const addrinfo* one = found; one != nullptr && fd_ < 0; one = one->ai_next) {
            fd_ = ::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
            ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
            ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
            if (fd_ >= 0 && ::connect(fd_, one->ai_addr, one->ai_addrlen) != 0) {
                ::close(fd_);
                fd_ = -1;
            }
        }
        ::freeaddrinfo(found);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection()
    {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    int fd_ = -1;
};

}  // namespace

int run_healthcheck(const std::string& url, std::ostream& err)
{
    const auto parsed = parse_url(url);
    if (!parsed || parsed->tls) {
        err << "healthcheck: expected http://host:port/path, got " << url << "\n";
        return 2;
    }
    const auto& authority = parsed->authority;
    const auto path = parsed->path.empty() ? std::string("/healthz") : parsed->path;
    const Connection connection(parsed->host, std::to_string(parsed->port));
    if (connection.fd() < 0) {
        err << "healthcheck: cannot connect to " << authority << ": " << std::strerror(errno)
            << "\n";
        return 1;
    }
    const auto request = "GET " + path + " HTTP/1.1\r\nHost: " + authority +
                         "\r\nUser-Agent: llm-proxy-healthcheck\r\nConnection: close\r\n\r\n";
    if (::send(connection.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
        err << "healthcheck: cannot send to " << authority << "\n";
        return 1;
    }
    std::string reply(64, '\0');
    const auto count = ::recv(connection.fd(), reply.data(), reply.size(), MSG_WAITALL);
    reply.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (reply.starts_with("HTTP/1.1 200")) {
        return 0;
    }
    err << "healthcheck: " << (reply.empty() ? "no answer" : reply.substr(0, reply.find('\r')))
        << "\n";
    return 1;
}

}  // namespace llmproxy::cli
