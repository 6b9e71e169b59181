#include "reply.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"

#include <array>
#include <boost/asio/error.hpp>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using Verdict = net::Watchdog::Verdict;

constexpr std::size_t kMaxHead = 32 * 1024;
constexpr int kMaxInterim = 16;
constexpr std::chrono::seconds kAwaitContinue{1};  // as long as curl waits

core::Task<core::Result<void>> pass_interim(RequestContext& context, const http::ResponseHead& head)
{
    const bool wanted = head.status != 100 && context.exchange.head().version == 11;
    if (!wanted) {
        co_return core::Result<void>();
    }
    std::string out;
    http::append_status_line(out, head.status, head.reason);
    for (const auto& field : head.fields) {
        if (!http::is_hop_by_hop(field) && !http::is_named_by_connection(head.fields, field)) {
            http::append_field(out, field.name, field.value);
        }
    }
    out += "\r\n";
    co_return co_await context.exchange.write_interim(out);
}

}  // namespace

core::Task<core::Result<void>> pass_upgrade(RequestContext& context, const ReplyHead& reply)
{
    auto& exchange = context.exchange;
    std::string head;
    http::append_status_line(head, 101, reply.head.reason);
    for (const auto& field : reply.head.fields) {
        const bool ours = field.id != http::FieldName::connection &&
                          field.id != http::FieldName::upgrade && http::is_hop_by_hop(field);
        if (!ours) {
            http::append_field(head, field.name, field.value);
        }
    }
    http::append_field(head, "x-llm-proxy-request-id", exchange.record.request_id);
    if (!exchange.record.backend.empty()) {
        http::append_field(head, "x-llm-proxy-backend", exchange.record.backend);
    }
    head += "\r\n";
    exchange.record.status = 101;
    exchange.record.stream = true;
    exchange.keep_alive = false;
    const std::array<std::string_view, 1> pieces{head};
    co_return co_await exchange.write(std::span<const std::string_view>(pieces));
}

core::Task<core::Result<void>> read_reply_head(RequestContext& context, upstream::Lease& lease,
                                               Upload& upload, ReplyHead& out)
{
    auto& watchdog = context.exchange.watchdog();
    const auto limit =
        core::Deadline::after(std::chrono::steady_clock::now(), context.header_timeout())
            .min(context.total);
    auto& buffer = lease.buffer();
    int interim = 0;
    std::size_t scanned = 0;
    for (;;) {
        const auto length = http::find_head_end(buffer.data(), scanned);
        if (length == 0) {
            if (buffer.size() >= kMaxHead) {
                co_return Failure(Errc::upstream_bad_response, Origin::upstream, "head too large");
            }
            if (upload.failure()) {
                co_return *upload.failure();  // before anything waited that it could have ended
            }
            const bool holds_body = context.awaits_continue && !upload.started();
            if (holds_body) {
                watchdog.expect(
                    core::Deadline::after(std::chrono::steady_clock::now(), kAwaitContinue));
            } else if (!upload.running()) {
                watchdog.expect(limit);
            }
            boost::system::error_code ended;
            if (!lease.stream().readable_now()) {
                const auto [code] = co_await lease.stream().until_readable();
                ended = code;
            }
            auto got = net::IoResult<std::size_t>(ended);
            if (!ended) {
                got = lease.stream().try_read(buffer.prepare(kMaxHead));
            }
            if (!got && got.error() == boost::asio::error::would_block) {
                continue;
            }
            if (got && *got != 0) {
                out.any_byte = true;
                buffer.commit(*got);
                continue;
            }
            if (holds_body && watchdog.verdict() == Verdict::expired) {
                upload.start();
                continue;
            }
            if (upload.failure()) {
                co_return *upload.failure();
            }
            const auto cause =
                got ? boost::system::error_code(boost::asio::error::eof) : got.error();
            switch (watchdog.verdict()) {
            case Verdict::expired:
                co_return Failure(Errc::upstream_timeout, Origin::upstream,
                                  "no reply head in time");
            case Verdict::client_gone:
                co_return Failure(Errc::client_gone, Origin::client, "while waiting for the reply");
            case Verdict::stopped: co_return Failure(Errc::cancelled, Origin::self, "shutdown");
            case Verdict::none: break;
            }
            if (net::is_tls_error(cause) && cause != net::truncated_error()) {
                co_return Failure(Errc::upstream_tls_failed, Origin::upstream, "reading the reply",
                                  cause);
            }
            co_return Failure(Errc::upstream_reset, Origin::upstream, "before the reply", cause);
        }
        out.head.fields.reserve(16);
        out.raw.assign(buffer.data().substr(0, length));
        buffer.consume(length);
        scanned = 0;
        auto parsed = http::parse_response(out.raw, context.exchange.head().verb, out.head);
        if (!parsed) {
            co_return parsed;
        }
        if (out.head.status == 101) {
            if (!context.upgrade) {
                co_return Failure(Errc::upstream_bad_response, Origin::upstream, "101 unasked");
            }
            co_return core::Result<void>();
        }
        if (out.head.status >= 200) {
            co_return core::Result<void>();
        }
        if (++interim > kMaxInterim) {
            co_return Failure(Errc::upstream_bad_response, Origin::upstream,
                              "too many interim heads");
        }
        if (out.head.status == 100 && context.awaits_continue && !upload.started()) {
            upload.start();
        }
        auto passed = co_await pass_interim(context, out.head);
        if (!passed) {
            co_return passed;
        }
    }
}

policy::RetryHeaders retry_headers(const http::Fields& fields) noexcept
{
    policy::RetryHeaders headers;
    headers.retry_after_ms = fields.get("retry-after-ms");
    headers.retry_after = fields.get("retry-after");
    headers.reset = fields.get("x-ratelimit-reset");
    headers.reset_requests = fields.get("x-ratelimit-reset-requests");
    headers.reset_tokens = fields.get("x-ratelimit-reset-tokens");
    headers.remaining_requests = fields.get("x-ratelimit-remaining-requests");
    headers.remaining_tokens = fields.get("x-ratelimit-remaining-tokens");
    return headers;
}

void append_server_timing(std::string& out, RequestContext& context)
{
    auto& exchange = context.exchange;
    const auto own = std::chrono::steady_clock::now() - exchange.started - context.upstream_time;
    out += "Server-Timing: proxy;dur=";
    core::append_milliseconds(out, own);
    out += "\r\n";
    exchange.record.times.proxy = own;
}

std::string compose_reply_head(RequestContext& context, const http::ResponseHead& head,
                               bool& chunked)
{
    using http::FieldName;
    using http::Framing;
    auto& exchange = context.exchange;
    const auto& request = exchange.head();
    const auto& kind = head.framing.kind;
    const bool bodiless = kind == Framing::Kind::none;
    chunked = (kind == Framing::Kind::chunked || kind == Framing::Kind::until_close) &&
              request.version == 11;
    const bool ends_by_close = !bodiless && kind != Framing::Kind::length && !chunked;
    if (ends_by_close || exchange.draining || !request.keep_alive) {
        exchange.keep_alive = false;
    }
    if (!exchange.body_done()) {
        exchange.keep_alive = false;
    }

    std::string limits;
    if (context.spending) {
        context.spending->append_ratelimit_lines(limits);
    }
    std::string out;
    out.reserve(1000 + limits.size());
    http::append_status_line(out, head.status, head.reason);
    const bool named = head.fields.has(FieldName::connection);
    const bool forbids_retry = context.forbids_client_retry && head.status >= 400;
    bool has_request_id = false;
    for (const auto& field : head.fields) {
        const bool dropped =
            http::is_hop_by_hop(field) ||
            (named && http::is_named_by_connection(head.fields, field)) ||
            (field.id == FieldName::content_length && !bodiless && kind != Framing::Kind::length) ||
            (field.id == FieldName::via && context.forward);
        if (dropped) {
            continue;
        }
        if (forbids_retry && core::iequals(field.name, "x-should-retry")) {
            continue;
        }
        if (!limits.empty() && core::iequals(field.name.substr(0, 12), "x-ratelimit-")) {
            continue;  // those of our key: the client's own are told
        }
        has_request_id = has_request_id || core::iequals(field.name, "x-request-id");
        http::append_field(out, field.name, field.value);
    }
    const auto& record = exchange.record;
    if (!has_request_id) {
        http::append_field(out, "x-request-id", record.request_id);
    }
    http::append_field(out, "x-llm-proxy-request-id", record.request_id);
    if (context.forward) {
        http::append_via(out, head.fields, context.via_name);
    } else {
        core::append_all(out, "x-llm-proxy-backend: ", record.backend,
                         "\r\nx-llm-proxy-attempts: ");
        core::append_number(out, record.attempts);
        out += "\r\n";
    }
    if (forbids_retry) {
        out += "x-should-retry: false\r\n";
    }
    out += limits;
    append_server_timing(out, context);
    if (chunked) {
        http::append_field(out, "Transfer-Encoding", "chunked");
    }
    if (!exchange.keep_alive) {
        http::append_field(out, "Connection", "close");
    } else if (request.version == 10) {
        http::append_field(out, "Connection", "keep-alive");
    }
    out += "\r\n";
    exchange.record.status = static_cast<std::uint16_t>(head.status);
    return out;
}

}  // namespace llmproxy::pipeline
