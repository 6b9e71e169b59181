#include "session.hpp"

#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/net/proxy_protocol.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "tunnelled.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <sys/socket.h>

namespace llmproxy::edge {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;
using Verdict = net::Watchdog::Verdict;

constexpr std::chrono::seconds kLinger{1};
constexpr std::size_t kLingerBytes = 256 * 1024;
constexpr char kTlsHandshake = 0x16;

core::Deadline from_now(core::Duration limit)
{
    return core::Deadline::after(std::chrono::steady_clock::now(), limit);
}

/// Roles whose requests hold up a drain: those of clients, not of scrapers.
bool serves_clients(const ListenerSettings& listener)
{
    return listener.serves(Role::gateway) || listener.serves(Role::forward);
}

/// Requests about the program itself, which come again and again.
bool is_of_operators(std::string_view route)
{
    return route == "health" || route == "metrics" || route == "manage";
}

}  // namespace

Session::Session(std::shared_ptr<Server::State> server, ListenerSettings listener,
                 net::Stream stream, boost::asio::any_io_executor strand, std::string address)
    : server_(std::move(server)), listener_(std::move(listener)), stream_(std::move(stream)),
      watchdog_(std::move(strand), stream_)
{
    server_->refresh(current_, version_);
    peer_.address = std::move(address);
    peer_.listener = listener_.name;
    boost::system::error_code not_an_address;  // a local socket: trusted by nobody
    const auto parsed = boost::asio::ip::make_address(peer_.address, not_an_address);
    peer_.trusted = !not_an_address && http::is_trusted(parsed, current_->trusted);
    place_ = server_->registry.add();
    server_->parts.metrics.connection_opened(listener_.name);
}

Session::~Session()
{
    server_->registry.remove(place_);
    server_->parts.metrics.connection_closed(listener_.name);
}

void Session::evict()
{
    boost::asio::post(watchdog_.executor(), [self = shared_from_this()] {
        if (self->idle_ && !self->has_unread()) {
            self->watchdog_.stop();
        }
    });
}

bool Session::has_unread()
{
    char byte = 0;
    return ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void Session::stop()
{
    boost::asio::post(watchdog_.executor(),
                      [self = shared_from_this()] { self->watchdog_.stop(); });
}

core::Task<void> Session::run()
{
    server_->registry.name(place_, weak_from_this());
    const bool begun = co_await begin();
    if (begun) {
        for (bool more = true; more;) {
            idle_ = true;
            server_->registry.set_idle(place_, true);
            const auto waited = co_await wait_for_head();
            idle_ = false;
            server_->registry.set_idle(place_, false);
            if (waited != Waited::head) {
                break;
            }
            more = co_await serve_one();
        }
    }
    if (tunnelled_) {
        co_await relay();
    }
    stream_.close();
}

core::Task<bool> Session::begin()
{
    watchdog_.expect(from_now(current_->settings.header_timeout));
    if (listener_.proxy_protocol && peer_.trusted) {
        const bool read = co_await read_proxy_header();
        if (!read) {
            co_return false;
        }
    }
    if (!listener_.tls) {
        co_return true;
    }
    if (listener_.tls->allow_plain) {
        const auto first = co_await first_byte();
        if (!first) {
            co_return false;
        }
        if (*first != kTlsHandshake) {
            co_return true;
        }
    }
    const auto context = current_->tls.find(listener_.name);
    auto tls = context->second;
    const auto began = std::chrono::steady_clock::now();
    auto shaken = co_await stream_.accept_tls(std::move(tls));
    if (!shaken) {
        telemetry::log("edge").debug(
            {}, "TLS handshake failed",
            {{"client", peer_.address}, {"error", shaken.error().message()}});
        co_return false;
    }
    server_->parts.metrics.tls_handshake("client", std::chrono::steady_clock::now() - began);
    peer_.tls = true;
    co_return true;
}

core::Task<std::optional<char>> Session::first_byte()
{
    for (;;) {
        auto waited = co_await stream_.wait_readable();
        if (!waited) {
            co_return std::nullopt;
        }
        char first = 0;
        const auto count =
            ::recv(stream_.socket().native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
        if (count == 1) {
            co_return first;
        }
        // Asio may report what became of the descriptor's predecessor: then there is nothing yet.
        if (count == 0 || errno != EAGAIN) {
            co_return std::nullopt;
        }
    }
}

core::Task<bool> Session::read_proxy_header()
{
    // Peeks, so that a TLS handshake that follows is still on the socket.
    std::string seen(net::kMaxProxyV2Payload + 16, '\0');
    for (;;) {
        auto waited = co_await stream_.wait_readable();
        if (!waited) {
            co_return false;
        }
        const int fd = stream_.socket().native_handle();
        const auto count = ::recv(fd, seen.data(), seen.size(), MSG_PEEK | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) {
            continue;
        }
        const auto size = count < 0 ? 0 : static_cast<std::size_t>(count);
        auto parsed = net::parse_proxy_header(std::string_view(seen.data(), size));
        if (size == 0 || !parsed) {
            telemetry::log("edge").warn({}, "no PROXY protocol header from a trusted proxy",
                                        {{"client", peer_.address}, {"listener", listener_.name}});
            co_return false;
        }
        if (*parsed) {
            const auto& header = **parsed;
            const int one = 1;
            ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
            if (::recv(fd, seen.data(), header.consumed, MSG_DONTWAIT) < 0) {
                co_return false;
            }
            if (header.source) {
                const auto source = net::normalise(header.source->address);
                peer_.address = source.to_string();
                peer_.trusted = http::is_trusted(source, current_->trusted);
            }
            co_return true;
        }
        // What was peeked at stays readable: wait for more than that.
        const int wanted = static_cast<int>(size + 1);
        ::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted);
    }
}

core::Task<Session::Waited> Session::wait_for_head()
{
    const auto limit = static_cast<std::size_t>(current_->settings.max_header_bytes);
    std::size_t scanned = 0;
    bool timing_head = first_;
    watchdog_.expect(from_now(first_ ? current_->settings.header_timeout
                                     : current_->settings.keepalive_timeout));
    first_ = false;
    for (;;) {
        while (buffer_.data().starts_with("\r\n")) {
            buffer_.consume(
                2);  // empty lines before a request are let pass (RFC 9112, section 2.2)
            scanned = 0;
        }
        const auto length = http::find_head_end(buffer_.data(), scanned);
        if (length > limit || (length == 0 && buffer_.size() >= limit)) {
            Failure failure(Errc::headers_too_large, Origin::client);
            co_await refuse(std::move(failure));
            co_return Waited::refused;
        }
        if (length != 0) {
            raw_head_.assign(buffer_.data().substr(0, length));
            buffer_.consume(length);
            co_return Waited::head;
        }
        if (!buffer_.empty() && !timing_head) {
            timing_head = true;
            watchdog_.expect(from_now(current_->settings.header_timeout));
        }
        boost::system::error_code ended;
        if (!stream_.readable_now()) {
            const auto [code] = co_await stream_.until_readable();
            ended = code;
        }
        auto got = net::IoResult<std::size_t>(std::size_t{0});
        if (!ended) {
            got = stream_.try_read(buffer_.prepare(limit));
            if (!got && got.error() == boost::asio::error::would_block) {
                if (buffer_.empty()) {
                    buffer_.release();
                }
                continue;
            }
        }
        if (!got || *got == 0) {
            const bool late = watchdog_.verdict() == Verdict::expired && !buffer_.empty();
            if (late) {
                Failure failure(Errc::request_timeout, Origin::client, "head not complete in time");
                co_await refuse(std::move(failure));
            }
            co_return Waited::nothing;
        }
        buffer_.commit(*got);
    }
}

void Session::describe(http::Exchange& exchange)
{
    exchange.started = std::chrono::steady_clock::now();
    exchange.draining = server_->draining.load(std::memory_order_relaxed);
    exchange.keep_alive = head_.keep_alive && !exchange.draining;
    auto& record = exchange.record;
    record.start = std::chrono::system_clock::now();
    const auto given = head_.fields.get("x-request-id");
    // Where proxies stand in front, a client that passes them by could forge the id of another's request.
    const bool believed = peer_.trusted || current_->trusted.empty();
    record.request_id = believed && core::is_sane_request_id(given)
                            ? std::string(given)
                            : core::make_request_id(record.start);
    record.client = peer_.address;
    record.listener = listener_.name;
    record.method = head_.method;
    record.path = head_.target.substr(0, head_.target.find('?'));
    record.authority = head_.fields.get(FieldName::host);
    record.user_agent = head_.fields.get(FieldName::user_agent);
    record.protocol = head_.version == 11 ? "HTTP/1.1" : "HTTP/1.0";
    record.route = "other";
    if (server_->parts.tracer != nullptr) {
        begin_trace(exchange, believed);
    }
    std::vector<std::string_view> forwarded;
    for (const auto& field : head_.fields) {
        if (core::iequals(field.name, "x-forwarded-for")) {
            forwarded.push_back(field.value);
        }
    }
    if (forwarded.empty()) {
        return;
    }
    record.forwarded_for = forwarded.front();
    boost::system::error_code not_an_address;
    const auto peer = boost::asio::ip::make_address(peer_.address, not_an_address);
    if (!not_an_address && peer_.trusted) {
        record.client = http::forwarded_client(peer, forwarded, current_->trusted).to_string();
    }
}

/// What a client says of its trace counts as its request id does.
void Session::begin_trace(http::Exchange& exchange, bool believed)
{
    std::string_view parent;
    std::string state;
    int parents = 0;
    for (const auto& field : head_.fields) {
        if (core::iequals(field.name, "traceparent")) {
            parent = field.value;
            ++parents;
        } else if (core::iequals(field.name, "tracestate")) {
            core::append_all(state, state.empty() ? "" : ",", field.value);
        }
    }
    const bool usable = believed && parents == 1;
    exchange.record.trace =
        server_->parts.tracer->begin(usable ? parent : std::string_view(), state, exchange.started);
}

void Session::close_record(telemetry::AccessRecord& record, core::SteadyTime started)
{
    record.times.total = std::chrono::steady_clock::now() - started;
    const auto slow = current_->settings.slow_request_threshold;
    record.slow = slow > core::Duration::zero() && telemetry::time_to_answer(record) > slow;
    server_->parts.metrics.record(record);
    server_->parts.access_log.write(record);
    if (record.trace) {
        server_->parts.tracer->finish(record);
    }
    if (!is_of_operators(record.route)) {
        server_->parts.recent.keep(std::move(record));
    }
}

void Session::finish_request(telemetry::AccessRecord& record, core::SteadyTime started)
{
    server_->active -= serves_clients(listener_) ? 1 : 0;
    server_->parts.metrics.request_finished();
    close_record(record, started);
}

core::Task<void> Session::refuse(core::Failure failure)
{
    // Nothing of the head can be relied upon: a neutral one stands in for it.
    head_ = http::RequestHead();
    http::Exchange exchange(stream_, buffer_, watchdog_, peer_, head_,
                            current_->settings.write_timeout);
    describe(exchange);
    exchange.record.protocol = "HTTP/1.1";
    co_await exchange.reply_error(failure);
    server_->parts.metrics.rejected(failure.errc());
    close_record(exchange.record, exchange.started);
    co_await linger();
}

core::Task<void> Session::linger()
{
    // Closing with unread bytes would send RST, and the client could lose the answer (RFC 9112, section 9.6).
    stream_.shutdown_write();
    watchdog_.expect(from_now(kLinger));
    std::size_t total = 0;
    buffer_.release();
    while (total < kLingerBytes) {
        auto waited = co_await stream_.wait_readable();
        if (!waited) {
            break;
        }
        const auto room = buffer_.prepare();
        const auto count =
            ::recv(stream_.socket().native_handle(), room.data(), room.size(), MSG_DONTWAIT);
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            break;
        }
        total += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    buffer_.release();
}

core::Task<bool> Session::serve_one()
{
    auto parsed = http::parse_request(raw_head_, head_);
    if (!parsed) {
        co_await refuse(parsed.error());
        co_return false;
    }
    server_->refresh(current_, version_);
    http::Exchange exchange(stream_, buffer_, watchdog_, peer_, head_,
                            current_->settings.write_timeout);
    describe(exchange);

    server_->parts.metrics.request_started();
    server_->active += serves_clients(listener_) ? 1 : 0;
    Handler* handler = server_->parts.routes.find(listener_, head_);
    std::exception_ptr escaped;
    try {
        if (handler != nullptr) {
            co_await handler->handle(exchange);
        } else {
            Failure failure(Errc::not_found, Origin::client);
            co_await exchange.reply_error(failure);
        }
    } catch (...) {
        escaped = std::current_exception();
    }
    if (exchange.record.bytes_in == 0 && exchange.record.tunnel.empty()) {
        exchange.record.bytes_in = exchange.body_bytes();
    }
    if (exchange.tunnel && !escaped) {
        tunnelled_ = std::make_unique<Tunnelled>(exchange);
        co_return false;
    }
    if (exchange.refused != Errc::none && exchange.record.attempts == 0) {
        server_->parts.metrics.rejected(exchange.refused);
    }
    if (exchange.bodies) {
        server_->parts.body_log.write(exchange.record, *exchange.bodies);
    }
    finish_request(exchange.record, exchange.started);
    if (escaped) {
        stream_.reset();
        std::rethrow_exception(escaped);
    }
    if (exchange.reset_wanted()) {
        stream_.reset();
        co_return false;
    }
    if (exchange.keep_alive && exchange.body_done()) {
        exchange.drop_body();
        co_return true;
    }
    if (!exchange.was_cut() || !exchange.body_done()) {
        co_await linger();
    } else {
        stream_.shutdown_write();
    }
    co_return false;
}

}  // namespace llmproxy::edge
