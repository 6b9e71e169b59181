#include "listener.hpp"

#include "llmproxy/net/cidr.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "session.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

namespace llmproxy::edge {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::milliseconds kLookAgain{5};
// Time for a newcomer's request to arrive: they would else push each other out where everybody else is busy.
constexpr std::chrono::milliseconds kLeaveAlone{250};
constexpr std::size_t kEvictAtOnce = 16;
// Of the limit: a small one is not emptied for one newcomer.
constexpr std::size_t kEvictShare = 16;
constexpr int kKeepAliveSeconds = 60;

core::Failure unusable(const ListenerSettings& settings, boost::system::error_code cause)
{
    return {core::Errc::internal, core::Origin::self,
            "listener " + settings.name + " on " + settings.address, cause};
}

core::Result<tcp::endpoint> endpoint_of(asio::io_context& context, const ListenerSettings& settings)
{
    const auto colon = settings.address.rfind(':');
    std::string host = settings.address.substr(0, colon);
    const std::string port = colon == std::string::npos ? "" : settings.address.substr(colon + 1);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    boost::system::error_code code;
    tcp::resolver resolver(context);
    const auto found = resolver.resolve(host, port, tcp::resolver::passive, code);
    if (code || found.empty()) {
        return unusable(settings, code);
    }
    return found.begin()->endpoint();
}

/// Connections that leave descriptors for upstreams, files and the rest.
std::size_t connection_cap(std::uint32_t configured)
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return configured;
    }
    const auto descriptors = static_cast<std::size_t>(limit.rlim_cur);
    const auto usable = descriptors > 128 ? descriptors * 3 / 4 - 32 : descriptors / 2;
    return std::min<std::size_t>(configured, usable);
}

/// Accepted sockets inherit these, which saves as many system calls for each.
void set_inherited_options(int listening) noexcept
{
    const int on = 1;
    ::setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(listening, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(listening, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveSeconds,
                 sizeof kKeepAliveSeconds);
}

}  // namespace

Server::Listener::Listener(std::shared_ptr<State> server, ListenerSettings settings)
    : server_(std::move(server)), settings_(std::move(settings)),
      strand_(asio::make_strand(server_->parts.context)), acceptor_(strand_), timer_(strand_)
{
}

core::Result<void> Server::Listener::open()
{
    auto endpoint = endpoint_of(server_->parts.context, settings_);
    if (!endpoint) {
        return endpoint.error();
    }
    boost::system::error_code code;
    acceptor_.open(endpoint->protocol(), code);
    if (!code) {
        ::fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
        set_inherited_options(acceptor_.native_handle());
        acceptor_.set_option(tcp::acceptor::reuse_address(true), code);
    }
    if (!code && endpoint->address().is_v6() && !endpoint->address().is_unspecified()) {
        acceptor_.set_option(asio::ip::v6_only(true), code);
    }
    if (!code) {
        acceptor_.bind(*endpoint, code);
    }
    if (!code) {
        acceptor_.listen(4096, code);
    }
    if (code) {
        return unusable(settings_, code);
    }
    endpoint_ = acceptor_.local_endpoint(code);
    return {};
}

void Server::Listener::start()
{
    server_->parts.tasks.spawn(strand_, accept_loop());
}

void Server::Listener::close()
{
    asio::post(strand_, [self = shared_from_this()] {
        boost::system::error_code ignored;  // closed either way
        self->acceptor_.close(ignored);
        self->timer_.cancel();
    });
}

core::Task<void> Server::Listener::pause(std::chrono::milliseconds time)
{
    timer_.expires_after(time);
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    [[maybe_unused]] auto [code] = co_await timer_.async_wait(token);
}

core::Task<void> Server::Listener::accept_loop()
{
    const auto self = shared_from_this();
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    auto& log = telemetry::log("edge");
    bool complained = false;
    while (acceptor_.is_open()) {
        const auto cap = connection_cap(server_->current()->settings.max_connections);
        const auto open_now = server_->registry.size();
        if (open_now >= cap) {
            // Nobody need go until somebody else wants in.
            auto [wanted] = co_await acceptor_.async_wait(tcp::acceptor::wait_read, token);
            if (wanted) {
                co_return;
            }
            if (server_->registry.size() < cap) {
                continue;
            }
            // Who was told to end stays in front until it has, so looking again asks nobody else.
            // Several at once: a crowd in the backlog would else hold up a client behind it by a pause for each.
            const auto count = std::clamp<std::size_t>(cap / kEvictShare, 1, kEvictAtOnce);
            const auto evicted = server_->registry.evict(count, kLeaveAlone);
            if (!complained) {
                log.warn({}, "connection limit reached", {{"limit", cap}, {"evicted", evicted}});
                complained = true;
            }
            co_await pause(kLookAgain);
            continue;
        }
        const asio::any_io_executor strand = asio::make_strand(server_->parts.context);
        auto [code, socket] = co_await acceptor_.async_accept(strand, token);
        if (code == asio::error::operation_aborted || !acceptor_.is_open()) {
            co_return;
        }
        if (code) {
            const bool exhausted = code == boost::system::errc::too_many_files_open ||
                                   code == boost::system::errc::too_many_files_open_in_system ||
                                   code == boost::system::errc::not_enough_memory ||
                                   code == boost::system::errc::no_buffer_space;
            if (exhausted) {
                const auto evicted = server_->registry.evict(kEvictAtOnce, kLeaveAlone);
                log.warn({}, "no descriptor for a new connection",
                         {{"error", code.message()}, {"evicted", evicted}});
                co_await pause(kPause);
            }
            continue;
        }
        complained = false;
        boost::system::error_code unknown;  // already reset: its first read fails
        const auto peer = socket.remote_endpoint(unknown);
        auto address = unknown ? std::string() : net::normalise(peer.address()).to_string();
        net::Stream stream(net::Stream::Socket(std::move(socket)), net::Stream::Needs::descriptor);
        auto session = std::make_shared<Session>(server_, settings_, std::move(stream), strand,
                                                 std::move(address));
        auto task = [](std::shared_ptr<Session> one) -> core::Task<void> { co_await one->run(); };
        server_->parts.tasks.spawn(strand, task(std::move(session)));
    }
}

}  // namespace llmproxy::edge
