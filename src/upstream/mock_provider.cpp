#include "llmproxy/upstream/mock_provider.hpp"

#include "llmproxy/http/body_reader.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/telemetry/log.hpp"

#include "mock_replies.hpp"
#include "mock_text.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <ctime>
#include <exception>
#include <utility>

namespace llmproxy::upstream {

struct MockProvider::State {
    explicit State(MockSettings the_settings) : settings(std::move(the_settings)) {}

    const MockSettings settings;
    std::atomic<std::uint64_t> sequence{0};
    std::atomic<std::uint64_t> shares{0};
};

namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxHead = 32 * 1024;
constexpr std::size_t kMaxJsonBody = std::size_t{64} * 1024 * 1024;
constexpr core::Duration kLookInterval = std::chrono::milliseconds(100);

/// What of a request decides how its answer is framed.
struct Terms {
    unsigned version = 11;
    bool keep_alive = true;
    bool head_only = false;
};

std::string date_field(std::time_t now)
{
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 64> text{};
    const auto length =
        std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    return std::string(text.data(), length);
}

std::string head_of(const mock::Call& call, const mock::Reply& reply, const Terms& terms)
{
    std::string out;
    http::append_status_line(out, reply.status, http::reason_of(reply.status));
    out += date_field(static_cast<std::time_t>(call.created));
    http::append_field(out, "Content-Type", reply.content_type);
    http::append_field(out, "x-request-id",
                       mock::make_id("req_", mock::hash(call.path), call.sequence));
    out += reply.fields;
    if (!reply.piece) {
        http::append_field(out, "Content-Length", std::to_string(reply.body.size()));
    } else if (terms.version == 11) {
        out += "Transfer-Encoding: chunked\r\n";
    }
    if (!terms.keep_alive) {
        out += "Connection: close\r\n";
    } else if (terms.version == 10) {
        out += "Connection: keep-alive\r\n";
    }
    out += "\r\n";
    return out;
}

/// One connection. Lives in the frame of `run`.
class Session {
public:
    Session(net::Stream& stream, const MockSettings& settings, std::atomic<std::uint64_t>& sequence,
            std::atomic<std::uint64_t>& shares)
        : stream_(stream), settings_(settings), sequence_(sequence), shares_(shares)
    {
    }

    /// One request and its answer; false when the connection ends with it.
    core::Task<bool> exchange();

private:
    core::Task<std::size_t> await_head();
    core::Task<bool> read_body(const http::RequestHead& head, mock::Call& call);
    bool keep(mock::Call& call, mock::BodyUse use, std::string_view run);
    core::Task<bool> send(const mock::Call& call, const mock::Reply& reply, const Terms& terms);
    core::Task<bool> send_whole(std::string head, const mock::Reply& reply, bool head_only);
    core::Task<bool> send_pieces(std::string head, const mock::Reply& reply, bool chunked);
    core::Task<bool> wait(core::Duration time);
    core::Task<void> refuse(unsigned status, std::string_view message);

    net::Stream& stream_;
    const MockSettings& settings_;
    std::atomic<std::uint64_t>& sequence_;
    std::atomic<std::uint64_t>& shares_;
    net::Buffer buffer_;
};

core::Task<bool> Session::exchange()
{
    const auto head_size = co_await await_head();
    if (head_size == 0) {
        co_return false;
    }
    const std::string raw(
        buffer_.data().substr(0, head_size));  // reading the body moves the buffer
    buffer_.consume(head_size);
    http::RequestHead head;
    const auto parsed = http::parse_request(raw, head);
    if (!parsed) {
        co_await refuse(400, "The request is not valid HTTP.");
        co_return false;
    }

    mock::Call call;
    call.method = head.method;
    call.path = head.target.substr(0, head.target.find('?'));
    call.sequence = sequence_.fetch_add(1) + 1;
    call.created = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    const bool read = co_await read_body(head, call);
    if (!read) {
        co_return false;
    }
    const auto reply = mock::answer(call, settings_, shares_);
    Terms terms;
    terms.version = head.version;
    terms.head_only = head.verb == http::Verb::head;
    // Without chunks the end of a reply in pieces is the end of the connection.
    terms.keep_alive = head.keep_alive && !(reply.piece && head.version == 10);
    const bool sent = co_await send(call, reply, terms);
    co_return sent&& terms.keep_alive;
}

/// Length of the head at the front of the buffer; 0 when none will come.
core::Task<std::size_t> Session::await_head()
{
    std::size_t scanned = 0;
    for (;;) {
        const auto length = http::find_head_end(buffer_.data(), scanned);
        if (length != 0) {
            co_return length;
        }
        const auto waited = co_await stream_.wait_readable();
        if (!waited) {
            co_return 0;
        }
        const auto room = buffer_.prepare(kMaxHead);
        if (room.empty()) {
            co_await refuse(431, "The request head is too large.");
            co_return 0;
        }
        const auto got = stream_.try_read(room);
        if (got && *got > 0) {
            buffer_.commit(*got);
        } else if (got || got.error() != asio::error::would_block) {
            co_return 0;
        } else if (buffer_.empty()) {
            buffer_.release();
        }
    }
}

core::Task<bool> Session::read_body(const http::RequestHead& head, mock::Call& call)
{
    const auto use = mock::body_use(call.method, call.path);
    if (use == mock::BodyUse::form) {
        call.form.emplace(head.fields.get(http::FieldName::content_type));
    }
    http::BodyReader body(stream_, buffer_, head.framing, http::ChunkDecoder::Extensions::refuse);
    if (head.expect_continue && !body.done() && buffer_.empty()) {
        const auto sent = co_await stream_.write("HTTP/1.1 100 Continue\r\n\r\n");
        if (!sent) {
            co_return false;
        }
    }
    std::vector<std::string_view> runs;
    for (;;) {
        runs.clear();
        const auto taken = body.take(runs);
        if (!taken) {
            co_await refuse(400, "The body's chunks are malformed.");
            co_return false;
        }
        for (const auto run : runs) {
            if (!keep(call, use, run)) {
                co_await refuse(413, "The body is too large.");
                co_return false;
            }
        }
        body.drop();
        if (body.done()) {
            co_return true;
        }
        const auto filled = co_await body.fill();
        if (!filled) {
            co_return false;
        }
    }
}

/// False when the body is larger than this server takes.
bool Session::keep(mock::Call& call, mock::BodyUse use, std::string_view run)
{
    if (use == mock::BodyUse::form) {
        call.form->feed(run);
    } else if (use == mock::BodyUse::json) {
        if (call.body.size() + run.size() > kMaxJsonBody) {
            return false;
        }
        call.body += run;
    }
    return true;
}

core::Task<bool> Session::send(const mock::Call& call, const mock::Reply& reply, const Terms& terms)
{
    const bool still_there = co_await wait(reply.knobs.latency);
    if (!still_there) {
        co_return false;
    }
    auto head = head_of(call, reply, terms);
    if (!reply.piece || terms.head_only) {
        co_return co_await send_whole(std::move(head), reply, terms.head_only);
    }
    co_return co_await send_pieces(std::move(head), reply, terms.version == 11);
}

core::Task<bool> Session::send_whole(std::string head, const mock::Reply& reply, bool head_only)
{
    std::string_view body = reply.body;
    const bool cuts = reply.knobs.cut && !head_only && !body.empty();
    if (cuts) {
        body = body.substr(0, std::min<std::uint64_t>(*reply.knobs.cut, body.size() - 1));
    }
    const std::array<std::string_view, 2> pieces{head, head_only ? std::string_view() : body};
    const auto sent = co_await stream_.write(pieces);
    co_return sent && !cuts;
}

core::Task<bool> Session::send_pieces(std::string head, const mock::Reply& reply, bool chunked)
{
    const auto count = std::min(reply.pieces, reply.knobs.cut.value_or(reply.pieces));
    if (count == 0 && !reply.knobs.cut) {
        head += chunked ? "0\r\n\r\n" : "";
    }
    if (count == 0) {
        const auto sent = co_await stream_.write(head);
        co_return sent && !reply.knobs.cut;
    }
    for (std::uint64_t index = 0; index < count; ++index) {
        const auto piece = reply.piece(index);
        std::string size;
        std::string_view end;
        if (chunked) {
            std::array<char, 16> digits{};
            const auto stop =
                std::to_chars(digits.data(), digits.data() + digits.size(), piece.size(), 16);
            size.assign(digits.data(), stop.ptr).append("\r\n");
            const bool last = index + 1 == reply.pieces && !reply.knobs.cut;
            end = last ? "\r\n0\r\n\r\n" : "\r\n";
        }
        const std::array<std::string_view, 4> parts{
            index == 0 ? std::string_view(head) : std::string_view(), size, piece, end};
        const auto sent = co_await stream_.write(parts);
        if (!sent) {
            co_return false;
        }
        const bool more = index + 1 < count;
        const bool still_there = !more || co_await wait(reply.knobs.interval);
        if (!still_there) {
            co_return false;
        }
    }
    co_return !reply.knobs.cut;
}

/// False when the other side left meanwhile. Looks now and then, since a pipelined request hides a
/// close.
core::Task<bool> Session::wait(core::Duration time)
{
    if (time <= core::Duration::zero()) {
        co_return true;
    }
    const auto executor = co_await asio::this_coro::executor;
    const auto end = std::chrono::steady_clock::now() + time;
    asio::steady_timer timer(executor);
    for (auto now = std::chrono::steady_clock::now(); now < end;
         now = std::chrono::steady_clock::now()) {
        timer.expires_at(std::min(end, now + kLookInterval));
        boost::system::error_code code;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, code));
        if (code || stream_.peer_closed()) {
            co_return false;
        }
    }
    co_return true;
}

/// Answers what cannot be read as a request; the connection ends with it.
core::Task<void> Session::refuse(unsigned status, std::string_view message)
{
    mock::Call call;
    call.sequence = sequence_.fetch_add(1) + 1;
    call.created = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    const auto reply = mock::error_reply(status, message);
    Terms terms;
    terms.keep_alive = false;
    const bool sent = co_await send(call, reply, terms);
    if (sent) {
        stream_.shutdown_write();
    }
}

/// Why a connection ended by an exception, for logs; empty for a cancellation, which is ordinary.
std::string escaped_text(std::exception_ptr escaped)
{
    try {
        std::rethrow_exception(std::move(escaped));
    } catch (const boost::system::system_error& error) {
        return error.code() == asio::error::operation_aborted ? std::string() : error.what();
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "unknown exception";
    }
}

/// Free, so that it owns its data however long it runs.
template <typename State>
core::Task<void> run(std::shared_ptr<State> state, std::shared_ptr<net::Stream> stream)
{
    try {
        Session session(*stream, state->settings, state->sequence, state->shares);
        for (bool more = true; more;) {
            more = co_await session.exchange();
        }
    } catch (...) {
        const auto why = escaped_text(std::current_exception());
        if (!why.empty()) {
            telemetry::log("upstream").error({}, "mock provider failed", {{"error", why}});
        }
    }
    stream->close();
}

}  // namespace

MockProvider::MockProvider(MockSettings settings)
    : state_(std::make_shared<State>(std::move(settings)))
{
}

MockProvider::~MockProvider() = default;

core::Task<void> MockProvider::serve(std::shared_ptr<net::Stream> stream) const
{
    return run(state_, std::move(stream));
}

}  // namespace llmproxy::upstream
