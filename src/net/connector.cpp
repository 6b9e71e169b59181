#include "llmproxy/net/connector.hpp"

#include "deadline_guard.hpp"
#include "llmproxy/net/guarded_connect.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using core::Deadline;
using core::Errc;
using core::Failure;
using core::Origin;
using core::SteadyTime;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kStagger{250};  // RFC 8305, section 5
constexpr std::size_t kMaxProxyHead = 8 * 1024;

void set_option(int fd, int level, int name, int value) noexcept
{
    ::setsockopt(fd, level, name, &value, sizeof value);
}

error_code open_socket(Stream::Socket& socket, const tcp::endpoint& to)
{
    const int family = to.protocol().family();
    const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0) {
        return {errno, boost::system::system_category()};
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    error_code error;
    socket.assign(asio::generic::stream_protocol(family, IPPROTO_TCP), fd, error);
    if (error) {
        ::close(fd);
    }
    return error;
}

std::string text_of(const tcp::endpoint& endpoint)
{
    std::ostringstream text;
    text << endpoint;
    return text.str();
}

/// The attempts under way. Its handlers and the coroutine that drives it run on one strand.
class Race : public std::enable_shared_from_this<Race> {
public:
    Race(asio::any_io_executor strand, std::vector<tcp::endpoint> endpoints)
        : alarm(strand), strand_(std::move(strand)), endpoints_(std::move(endpoints))
    {
        sockets_.reserve(endpoints_.size());
    }

    [[nodiscard]] bool more() const noexcept { return sockets_.size() < endpoints_.size(); }
    [[nodiscard]] bool won() const noexcept { return winner_.has_value(); }
    [[nodiscard]] bool idle() const noexcept { return pending_ == 0; }

    /// Whether an attempt has failed since the last call.
    [[nodiscard]] bool take_failed() noexcept { return std::exchange(failed_, false); }

    void start_next()
    {
        const auto index = sockets_.size();
        sockets_.emplace_back(strand_);
        if (const auto error = open_socket(sockets_.back(), endpoints_[index])) {
            note(index, error);
            return;
        }
        ++pending_;
        sockets_.back().async_connect(asio::generic::stream_protocol::endpoint(endpoints_[index]),
                                      [self = shared_from_this(), index](const error_code& error) {
                                          self->finish(index, error);
                                      });
    }

    void close_losers()
    {
        closing_ = true;  // whoever still connects now has lost its socket
        for (std::size_t i = 0; i < sockets_.size(); ++i) {
            if (winner_ != i) {
                error_code ignored;  // the descriptor is gone either way
                sockets_[i].close(ignored);
            }
        }
    }

    [[nodiscard]] Stream take_winner()
    {
        return Stream(std::move(sockets_[*winner_]), Stream::Needs::nothing);
    }

    [[nodiscard]] Failure lost() const
    {
        return Failure(Errc::upstream_connect_failed, Origin::upstream, detail_, last_error_);
    }

    [[nodiscard]] Failure late() const
    {
        return Failure(Errc::upstream_connect_failed, Origin::upstream,
                       "connecting took too long" + (detail_.empty() ? "" : "; " + detail_),
                       asio::error::timed_out);
    }

    asio::steady_timer alarm;  // what the coroutine waits on; a finished attempt cancels it

private:
    void finish(std::size_t index, const error_code& error)
    {
        --pending_;
        if (!error && !winner_ && !closing_) {
            winner_ = index;
        } else if (error && error != asio::error::operation_aborted) {
            note(index, error);
        }
        alarm.cancel();
    }

    void note(std::size_t index, const error_code& error)
    {
        failed_ = true;
        last_error_ = error;
        detail_ +=
            (detail_.empty() ? "" : "; ") + text_of(endpoints_[index]) + ": " + error.message();
    }

    asio::any_io_executor strand_;
    std::vector<tcp::endpoint> endpoints_;
    std::vector<Stream::Socket> sockets_;  // reserved: operations hold addresses of its elements
    std::size_t pending_ = 0;
    bool failed_ = false;
    bool closing_ = false;
    std::optional<std::size_t> winner_;
    error_code last_error_;
    std::string detail_;
};

std::string authority(const ConnectTarget& target)
{
    const bool v6 = target.host.find(':') != std::string::npos;
    return (v6 ? "[" + target.host + "]" : target.host) + ":" + std::to_string(target.port);
}

bool breaks_line(std::string_view text) noexcept
{
    return std::any_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Failure failed(Errc errc, std::string detail, error_code cause = {})
{
    return Failure(errc, Origin::upstream, std::move(detail), cause);
}

Failure late(const char* step)
{
    return failed(Errc::upstream_connect_failed, std::string(step) + " took too long",
                  asio::error::timed_out);
}

core::Result<void> judge_connect_reply(std::string_view head)
{
    const bool sane = head.size() > 12 && head.starts_with("HTTP/1.") && head[8] == ' ' &&
                      std::all_of(head.begin() + 9, head.begin() + 12,
                                  [](char c) { return c >= '0' && c <= '9'; });
    if (!sane) {
        return failed(Errc::upstream_connect_failed, "the egress proxy did not answer in HTTP/1");
    }
    if (head[9] != '2') {
        return failed(Errc::upstream_connect_failed,
                      "the egress proxy refused CONNECT with status " +
                          std::string(head.substr(9, 3)));
    }
    return {};
}

/// RFC 9110, section 9.3.6: the tunnel begins right after the head of a 2xx reply.
core::Task<core::Result<void>> open_tunnel(Stream& stream, const ConnectTarget& target)
{
    const auto to = authority(target);
    const auto& authorization = target.proxy->authorization.reveal();
    if (breaks_line(to) || to.find(' ') != std::string::npos || breaks_line(authorization)) {
        co_return Failure(Errc::internal, Origin::self, "host or proxy credentials hold controls");
    }
    std::string request = "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n";
    if (!authorization.empty()) {
        request += "Proxy-Authorization: " + authorization + "\r\n";
    }
    request += "\r\n";
    const auto written = co_await stream.write(std::string_view(request));
    OPENSSL_cleanse(request.data(), request.size());
    if (!written) {
        co_return failed(Errc::upstream_connect_failed, "writing to the egress proxy failed",
                         written.error());
    }
    std::string head;
    for (;;) {
        std::array<char, 1024> piece;
        const auto got = co_await stream.read_some(piece);
        if (!got || *got == 0) {
            co_return failed(Errc::upstream_connect_failed,
                             "the egress proxy closed the connection",
                             got ? error_code(asio::error::eof) : got.error());
        }
        head.append(piece.data(), *got);
        const auto end = head.find("\r\n\r\n");
        if (end == std::string::npos && head.size() <= kMaxProxyHead) {
            continue;
        }
        if (auto accepted = judge_connect_reply(head); !accepted) {
            co_return accepted.error();
        }
        // Neither TLS nor HTTP lets the target speak first.
        if (end == std::string::npos || end + 4 != head.size()) {
            co_return failed(Errc::upstream_connect_failed,
                             "the egress proxy sent more than a head");
        }
        co_return core::Result<void>();
    }
}

core::Task<core::Result<void>> open_tls(Stream& stream, std::shared_ptr<SSL_CTX> context,
                                        std::string host)
{
    const auto done = co_await stream.connect_tls(std::move(context), host);
    if (done) {
        co_return core::Result<void>();
    }
    const auto reason = stream.verify_error();
    co_return failed(Errc::upstream_tls_failed,
                     "TLS with '" + host +
                         "' failed: " + (reason.empty() ? done.error().message() : reason),
                     done.error());
}

core::Task<core::Result<void>> set_up(Stream& stream, const ConnectTarget& target)
{
    if (target.proxy) {
        if (target.proxy->tls) {
            auto secured = co_await open_tls(stream, target.proxy->tls, target.proxy->host);
            if (!secured) {
                co_return secured;
            }
        }
        auto opened = co_await open_tunnel(stream, target);
        if (!opened) {
            co_return opened;
        }
    }
    if (target.tls) {
        co_return co_await open_tls(stream, target.tls, target.host);
    }
    co_return core::Result<void>();
}

/// Measures one step.
class Lap {
public:
    explicit Lap(core::Duration& into) noexcept : into_(into) {}
    void end() const noexcept { into_ = std::chrono::steady_clock::now() - began_; }

private:
    core::Duration& into_;
    core::SteadyTime began_ = std::chrono::steady_clock::now();
};

std::string without_brackets(std::string host)
{
    return host.size() > 2 && host.front() == '[' && host.back() == ']'
               ? host.substr(1, host.size() - 2)
               : host;
}

}  // namespace

std::vector<tcp::endpoint> interleave_families(const std::vector<tcp::endpoint>& endpoints)
{
    std::vector<tcp::endpoint> first;
    std::vector<tcp::endpoint> second;
    for (const auto& endpoint : endpoints) {
        const bool same = endpoint.protocol() == endpoints.front().protocol();
        (same ? first : second).push_back(endpoint);
    }
    std::vector<tcp::endpoint> order;
    order.reserve(endpoints.size());
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size()) {
            order.push_back(first[i]);
        }
        if (i < second.size()) {
            order.push_back(second[i]);
        }
    }
    return order;
}

namespace {

/// \param watchdog  whose verdict ends the attempts too; null for none.
core::Task<core::Result<Stream>> run_race(std::vector<tcp::endpoint> endpoints, Deadline deadline,
                                          Watchdog* watchdog)
{
    const auto strand = co_await asio::this_coro::executor;
    // Losers are awaited even when this coroutine is cancelled, so no wait in here may throw.
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto race = std::make_shared<Race>(strand, interleave_families(endpoints));
    if (watchdog != nullptr) {
        watchdog->guard_timer(&race->alarm);
        watchdog->expect(Deadline());
    }
    bool cancelled = false;
    bool expired = false;
    auto next_start = SteadyTime::min();
    for (;;) {
        const auto now = std::chrono::steady_clock::now();
        cancelled = (co_await asio::this_coro::cancellation_state).cancelled() !=
                        asio::cancellation_type::none ||
                    (watchdog != nullptr && watchdog->verdict() != Watchdog::Verdict::none);
        expired = deadline.passed(now);
        if (race->won() || cancelled || expired) {
            break;
        }
        if (race->more() && (race->idle() || now >= next_start || race->take_failed())) {
            race->start_next();
            next_start = now + kStagger;
            continue;
        }
        if (race->idle()) {
            break;
        }
        race->alarm.expires_at(race->more() ? std::min(next_start, deadline.time())
                                            : deadline.time());
        co_await race->alarm.async_wait(kTuple);
    }
    race->close_losers();
    while (!race->idle()) {
        race->alarm.expires_at(SteadyTime::max());
        co_await race->alarm.async_wait(kTuple);
    }
    if (watchdog != nullptr) {
        watchdog->guard_timer(nullptr);
    }
    co_await asio::this_coro::throw_if_cancelled(throws);
    if (race->won()) {
        co_return race->take_winner();
    }
    if (cancelled) {
        co_return Failure(Errc::cancelled, Origin::self, "connecting was cancelled");
    }
    co_return expired ? race->late() : race->lost();
}

}  // namespace

core::Task<core::Result<Stream>> connect_tcp(std::vector<tcp::endpoint> endpoints,
                                             Deadline deadline)
{
    return run_race(std::move(endpoints), deadline, nullptr);
}

core::Task<core::Result<Stream>> connect_tcp(std::vector<tcp::endpoint> endpoints,
                                             Deadline deadline, Watchdog& watchdog)
{
    auto stream = co_await run_race(std::move(endpoints), deadline, &watchdog);
    if (auto ended = why_ended(watchdog)) {
        co_return std::move(*ended);
    }
    co_return stream;
}

core::Task<core::Result<Stream>> connect(Resolver& resolver, ConnectTarget target,
                                         Deadline deadline, ConnectTimes* times)
{
    ConnectTimes unwanted;
    auto& took = times != nullptr ? *times : unwanted;
    target.host = without_brackets(std::move(target.host));
    if (target.is_tls_in_tls()) {
        co_return Failure(Errc::upstream_connect_failed, Origin::self,
                          "TLS to a target behind an https egress proxy is not supported");
    }
    auto& first_host = target.proxy ? target.proxy->host : target.host;
    first_host = without_brackets(std::move(first_host));
    const auto port = target.proxy ? target.proxy->port : target.port;
    const Lap resolving(took.resolve);
    auto endpoints = co_await resolver.resolve(first_host, port, deadline);
    resolving.end();
    if (!endpoints) {
        co_return endpoints.error().errc() == Errc::upstream_timeout ? late("resolving")
                                                                     : endpoints.error();
    }
    const Lap connecting(took.connect);
    auto stream = co_await connect_tcp(std::move(*endpoints), deadline);
    connecting.end();
    if (!stream || (!target.tls && !target.proxy)) {
        co_return stream;
    }
    const auto strand = co_await asio::this_coro::executor;
    core::Result<void> ready;
    bool expired = false;
    {
        const DeadlineGuard guard(strand, *stream, deadline);
        const Lap securing(took.tls);
        ready = co_await set_up(*stream, target);
        securing.end();
        expired = guard.expired();
    }
    if (expired) {
        co_return late(target.proxy ? "the egress proxy or the TLS handshake"
                                    : "the TLS handshake");
    }
    if (!ready) {
        co_return ready.error();
    }
    co_return stream;
}

}  // namespace llmproxy::net
