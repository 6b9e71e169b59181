#include "llmproxy/http/exchange.hpp"

#include "llmproxy/core/error_body.hpp"
#include "llmproxy/core/text.hpp"

#include <boost/asio/error.hpp>
#include <boost/beast/http/status.hpp>

#include <array>

namespace llmproxy::http {
namespace {

using Verdict = net::Watchdog::Verdict;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

core::Deadline from_now(core::Duration limit)
{
    return core::Deadline::after(std::chrono::steady_clock::now(), limit);
}

std::size_t total(std::span<const std::string_view> pieces)
{
    std::size_t sum = 0;
    for (const auto piece : pieces) {
        sum += piece.size();
    }
    return sum;
}

}  // namespace

std::string_view reason_of(unsigned status) noexcept
{
    const auto known = boost::beast::http::int_to_status(status);
    if (status == 429) {
        return "Too Many Requests";
    }
    if (known == boost::beast::http::status::unknown) {
        return {};
    }
    const auto text = boost::beast::http::obsolete_reason(known);
    return {text.data(), text.size()};
}

void append_status_line(std::string& out, unsigned status, std::string_view reason)
{
    out += "HTTP/1.1 ";
    core::append_number(out, status);
    core::append_all(out, " ", reason, "\r\n");
}

Exchange::Exchange(net::Stream& client, net::Buffer& buffer, net::Watchdog& watchdog,
                   const Peer& peer, RequestHead& head, core::Duration write_timeout)
    : client_(client), buffer_(buffer), watchdog_(watchdog), peer_(peer), head_(head),
      write_timeout_(write_timeout),
      body_(client, buffer, head.framing, ChunkDecoder::Extensions::refuse),
      continue_due_(head.expect_continue)
{
}

core::Failure Exchange::failure_of(const boost::system::error_code& code,
                                   core::Errc when_expired) const
{
    switch (watchdog_.verdict()) {
    case Verdict::expired: return {when_expired, core::Origin::client, "deadline passed", code};
    case Verdict::stopped: return {core::Errc::cancelled, core::Origin::self, "shutdown", code};
    case Verdict::client_gone:
    case Verdict::none: break;
    }
    return {core::Errc::client_gone, core::Origin::client, "client connection lost", code};
}

core::Result<bool> Exchange::take_body(std::vector<std::string_view>& runs)
{
    runs.clear();
    body_.drop();
    auto taken = body_.take(runs);
    if (!taken) {
        keep_alive = false;
        return taken.error();
    }
    for (const auto run : runs) {
        body_bytes_ += run.size();
    }
    return !runs.empty() || body_.done();
}

core::Task<core::Result<void>> Exchange::read_body(std::vector<std::string_view>& runs,
                                                   core::Deadline deadline)
{
    for (;;) {
        const auto taken = take_body(runs);
        if (!taken) {
            co_return taken.error();
        }
        if (*taken) {
            co_return core::Result<void>();
        }
        body_.drop();
        if (continue_due_) {
            continue_due_ = false;
            auto told = co_await write_interim(kContinue);
            if (!told) {
                co_return told;
            }
        }
        watchdog_.expect(deadline);
        auto filled = co_await body_.fill();
        if (!filled) {
            keep_alive = false;
            co_return failure_of(filled.error(), core::Errc::request_timeout);
        }
    }
}

core::Failure Exchange::write_failed(const boost::system::error_code& code)
{
    keep_alive = false;
    cut_ = true;
    return failure_of(code, core::Errc::client_gone);
}

core::Result<bool> Exchange::write_now(std::span<const std::string_view> pieces)
{
    committed_ = true;
    const auto sent = client_.try_write(pieces);
    if (!sent) {
        return write_failed(sent.error());
    }
    written_ = *sent;
    if (written_ < total(pieces)) {
        return false;
    }
    sent_bytes_ += written_;
    return true;
}

core::Task<core::Result<void>> Exchange::write_rest(std::span<const std::string_view> pieces)
{
    watchdog_.expect(from_now(write_timeout_));
    auto written = co_await client_.write(pieces, written_);
    if (!written) {
        co_return write_failed(written.error());
    }
    sent_bytes_ += total(pieces);
    co_return core::Result<void>();
}

core::Task<core::Result<void>> Exchange::write(std::span<const std::string_view> pieces)
{
    const auto now = write_now(pieces);
    if (!now) {
        co_return now.error();
    }
    if (*now) {
        co_return core::Result<void>();
    }
    co_return co_await write_rest(pieces);
}

core::Task<core::Result<void>> Exchange::write_interim(std::string_view bytes)
{
    watchdog_.expect(from_now(write_timeout_));
    auto written = co_await client_.write(bytes);
    if (!written) {
        keep_alive = false;
        co_return failure_of(written.error(), core::Errc::client_gone);
    }
    co_return core::Result<void>();
}

core::Task<core::Result<void>> Exchange::reply(unsigned status, std::string_view fields,
                                               std::string_view body)
{
    if (!body_.done()) {
        keep_alive = false;  // what is unread can never be taken for a next request
    }
    if (draining || !head_.keep_alive) {
        keep_alive = false;
    }
    std::string head;
    head.reserve(256 + fields.size() + body.size());
    append_status_line(head, status, reason_of(status));
    head.append(fields);
    if (status != 204) {  // which has no length (RFC 9110, section 8.6)
        append_field(head, "Content-Length", std::to_string(body.size()));
    }
    if (!keep_alive) {
        append_field(head, "Connection", "close");
    } else if (head_.version == 10) {
        append_field(head, "Connection", "keep-alive");
    }
    if (!record.request_id.empty()) {
        append_field(head, "x-llm-proxy-request-id", record.request_id);
    }
    head += "\r\n";
    record.status = static_cast<std::uint16_t>(status);
    const auto content = head_.verb == Verb::head ? std::string_view() : body;
    record.bytes_out = content.size();
    const std::array<std::string_view, 2> pieces{head, content};
    co_return co_await write(std::span<const std::string_view>(pieces));
}

core::Task<void> Exchange::reply_error(const core::Failure& failure, std::string_view fields)
{
    const auto& info = failure.info();
    refused = failure.errc();
    record.outcome = info.code;
    record.error = failure.detail();
    if (failure.cause()) {
        record.error += " (" + failure.cause().message() + ")";
    }
    if (info.close) {
        keep_alive = false;
    }
    if (committed_ || failure.errc() == core::Errc::client_gone) {
        cut(committed_);
        if (record.status == 0) {
            record.status = info.status;
        }
        co_return;
    }
    std::string lines(fields);
    append_field(lines, "Content-Type", "application/json");
    if (info.status == 401) {
        append_field(lines, "WWW-Authenticate", "Bearer");
    }
    if (info.retry_after && fields.find("Retry-After") == std::string_view::npos) {
        append_field(lines, "Retry-After", "1");
    }
    const auto body = core::error_body(failure);
    auto written = co_await reply(info.status, lines, body);
    if (!written) {
        record.error += "; the answer could not be delivered";
    }
}

void Exchange::cut(bool by_reset) noexcept
{
    cut_ = true;
    reset_ = reset_ || by_reset;
    keep_alive = false;
}

}  // namespace llmproxy::http
