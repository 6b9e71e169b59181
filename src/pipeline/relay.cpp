#include "reply.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/openai/errors.hpp"

#include <array>
#include <boost/asio/error.hpp>
#include <cstdio>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;
using http::Framing;
using Verdict = net::Watchdog::Verdict;

constexpr std::size_t kMaxHeldError = 64 * 1024;

double milliseconds(core::Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

bool is_type(std::string_view content_type, std::string_view wanted)
{
    return core::iequals(core::trim(content_type.substr(0, content_type.find(';'))), wanted);
}

std::size_t total_size(const std::vector<std::string_view>& runs)
{
    std::size_t sum = 0;
    for (const auto run : runs) {
        sum += run.size();
    }
    return sum;
}

}  // namespace

Relay::Relay(RequestContext& context, upstream::Lease& lease, const Upload& upload,
             ReplyHead& reply)
    : context_(context), lease_(lease), upload_(upload), reply_(reply),
      reader_(lease.stream(), lease.buffer(), reply.head.framing,
              http::ChunkDecoder::Extensions::skip)
{
    if (context.forward) {
        return;
    }
    const auto& fields = reply.head.fields;
    const auto type = fields.get(FieldName::content_type);
    sse_ = is_type(type, "text/event-stream");
    if (sse_) {
        const bool ours = context.hides_usage && reply.head.status == 200;
        stream_.emplace(context.route, ours);
    } else if (is_type(type, "application/json") && reply.head.status == 200) {
        json_.emplace();
    }
    if (const auto coding = openai::coding_of(fields.get(FieldName::content_encoding))) {
        inflater_.emplace(*coding);
        if (sse_) {
            stream_.emplace(context.route, false);  // what passes untouched cannot be hidden
        }
    }
    context.exchange.record.stream = sse_;
}

void Relay::compose_head()
{
    auto& exchange = context_.exchange;
    const auto& request = exchange.head();
    const auto& head = reply_.head;
    const auto& kind = head.framing.kind;
    const bool bodiless = kind == Framing::Kind::none;
    chunked_out_ = (kind == Framing::Kind::chunked || kind == Framing::Kind::until_close) &&
                   request.version == 11;
    const bool ends_by_close = !bodiless && kind != Framing::Kind::length && !chunked_out_;
    if (ends_by_close || exchange.draining || !request.keep_alive) {
        exchange.keep_alive = false;
    }
    if (!exchange.body_done()) {
        exchange.keep_alive = false;
    }

    head_.reserve(1024);
    http::append_status_line(head_, head.status, head.reason);
    const bool named = head.fields.has(FieldName::connection);
    bool has_request_id = false;
    for (const auto& field : head.fields) {
        const bool dropped =
            http::is_hop_by_hop(field) ||
            (named && http::is_named_by_connection(head.fields, field)) ||
            (field.id == FieldName::content_length && !bodiless && kind != Framing::Kind::length) ||
            (field.id == FieldName::via && context_.forward);
        if (dropped) {
            continue;
        }
        has_request_id = has_request_id || core::iequals(field.name, "x-request-id");
        http::append_field(head_, field.name, field.value);
    }
    const auto& record = exchange.record;
    if (!has_request_id) {
        http::append_field(head_, "x-request-id", record.request_id);
    }
    http::append_field(head_, "x-llm-proxy-request-id", record.request_id);
    if (context_.forward) {
        http::append_via(head_, head.fields, http::via_pseudonym(context_.instance));
    } else {
        http::append_field(head_, "x-llm-proxy-backend", record.backend);
        http::append_field(head_, "x-llm-proxy-attempts", std::to_string(record.attempts));
    }
    const auto own = std::chrono::steady_clock::now() - exchange.started - context_.upstream_time;
    std::array<char, 64> timing{};
    const int length =
        std::snprintf(timing.data(), timing.size(), "proxy;dur=%.3f", milliseconds(own));
    http::append_field(head_, "Server-Timing",
                       std::string_view(timing.data(), static_cast<std::size_t>(length)));
    exchange.record.times.proxy = own;
    if (chunked_out_) {
        http::append_field(head_, "Transfer-Encoding", "chunked");
    }
    if (!exchange.keep_alive) {
        http::append_field(head_, "Connection", "close");
    } else if (request.version == 10) {
        http::append_field(head_, "Connection", "keep-alive");
    }
    head_ += "\r\n";
    exchange.record.status = static_cast<std::uint16_t>(head.status);
}

core::Task<core::Result<bool>> Relay::hold_error_body()
{
    std::vector<std::string_view> runs;
    for (;;) {
        auto taken = reader_.take(runs);
        if (!taken) {
            co_return Failure(Errc::upstream_bad_response, Origin::upstream,
                              taken.error().detail());
        }
        for (const auto run : runs) {
            held_.append(run);
        }
        runs.clear();
        reader_.drop();
        if (reader_.done()) {
            co_return true;
        }
        if (held_.size() > kMaxHeldError) {
            co_return false;
        }
        const auto idle = core::Deadline::after(std::chrono::steady_clock::now(),
                                                context_.policies->settings.stream_idle_timeout);
        context_.exchange.watchdog().expect(idle.min(context_.total));
        auto filled = co_await reader_.fill();
        if (!filled) {
            co_return upstream_failure(filled.error());
        }
    }
}

void Relay::scan(std::vector<std::string_view>& runs, std::vector<std::string_view>& relay)
{
    const auto look = [&](std::string_view bytes) {
        if (stream_) {
            std::vector<std::string_view> seen;
            stream_->feed(bytes, seen);
        } else if (json_) {
            json_->feed(bytes);
        }
    };
    if (inflater_) {
        for (const auto run : runs) {
            inflater_->feed(run, inflated_);
            look(inflated_);
        }
        relay = runs;
        return;
    }
    if (stream_) {
        if (runs.size() > 1) {
            // The scanner's views live until its next call, so one call gets all.
            joined_.clear();
            for (const auto run : runs) {
                joined_.append(run);
            }
            stream_->feed(joined_, relay);
        } else if (!runs.empty()) {
            stream_->feed(runs.front(), relay);
        }
        return;
    }
    if (json_) {
        if (reader_.done() && !head_sent_ && held_.empty() && runs.size() == 1) {
            whole_ = openai::scan_reply(runs.front());
            scanned_whole_ = true;
        } else {
            for (const auto run : runs) {
                json_->feed(run);
            }
        }
    }
    relay = runs;
}

void Relay::finish_scan(std::vector<std::string_view>& relay)
{
    if (stream_) {
        stream_->finish(relay);
    } else if (json_ && !scanned_whole_) {
        json_->finish();
    }
}

void Relay::note_usage()
{
    const openai::Usage* usage = nullptr;
    if (stream_) {
        usage = &stream_->usage();
    } else if (json_) {
        usage = scanned_whole_ ? &whole_.usage : &json_->usage();
    }
    if (usage != nullptr && usage->present) {
        auto& out = context_.exchange.record.usage;
        out.present = true;
        out.input = usage->input_tokens;
        out.output = usage->output_tokens;
        out.cached = usage->cached_tokens;
        out.reasoning = usage->reasoning_tokens;
    }
}

core::Failure Relay::upstream_failure(const boost::system::error_code& code) const
{
    switch (context_.exchange.watchdog().verdict()) {
    case Verdict::expired:
        return {Errc::upstream_timeout, Origin::upstream, "silence in the reply", code};
    case Verdict::client_gone: return {Errc::client_gone, Origin::client, "during the reply", code};
    case Verdict::stopped: return {Errc::cancelled, Origin::self, "shutdown", code};
    case Verdict::none: break;
    }
    return {Errc::upstream_reset, Origin::upstream, "the reply was cut", code};
}

core::Task<core::Result<void>> Relay::send(std::vector<std::string_view>& relay, bool last)
{
    const auto size = total_size(relay);
    std::array<char, 24> line{};
    std::vector<std::string_view> pieces;
    pieces.reserve(relay.size() + 4);
    if (!head_sent_) {
        pieces.push_back(head_);
    }
    if (chunked_out_ && size != 0) {
        const int length = std::snprintf(line.data(), line.size(), "%zx\r\n", size);
        pieces.emplace_back(line.data(), static_cast<std::size_t>(length));
    }
    pieces.insert(pieces.end(), relay.begin(), relay.end());
    if (chunked_out_) {
        if (size != 0 && last) {
            pieces.push_back("\r\n0\r\n\r\n");
        } else if (size != 0) {
            pieces.push_back("\r\n");
        } else if (last) {
            pieces.push_back("0\r\n\r\n");
        }
    }
    if (pieces.empty()) {
        co_return core::Result<void>();
    }
    auto written = co_await context_.exchange.write(std::span<const std::string_view>(pieces));
    if (written) {
        if (!head_sent_) {
            head_sent_ = true;
            std::string().swap(head_);
        }
        context_.exchange.record.bytes_out += size;
    }
    co_return written;
}

core::Task<core::Result<void>> Relay::cut(core::Failure failure)
{
    auto& exchange = context_.exchange;
    const bool finished = stream_ && stream_->terminal_seen();
    if (failure.errc() == Errc::client_gone && finished) {
        exchange.keep_alive =
            false;  // clients stop reading at the terminal event and close: that is complete
        co_return core::Result<void>();
    }
    if (!exchange.committed()) {
        co_return failure;
    }
    exchange.record.outcome = failure.info().code;
    exchange.record.error = failure.describe();
    if (failure.errc() != Errc::client_gone && !exchange.was_cut()) {
        std::vector<std::string_view> rest;
        const bool boundary = stream_ && !inflater_ && stream_->at_event_boundary() && !finished;
        if (stream_ && !inflater_) {
            stream_->finish(rest);
        }
        std::string event;
        if (boundary && chunked_out_) {
            event = openai::stream_error_event(context_.route, failure);
            rest.push_back(event);
        }
        if (!rest.empty()) {
            auto written = co_await send(rest, false);
            if (!written) {
                exchange.record.error += "; the client did not take the end";
            }
        }
    }
    const bool by_reset = !chunked_out_ && reply_.head.framing.kind != Framing::Kind::length;
    exchange.cut(by_reset);
    co_return core::Result<void>();
}

core::Task<core::Result<void>> Relay::run()
{
    auto& exchange = context_.exchange;
    auto& watchdog = exchange.watchdog();
    const auto idle_limit = context_.policies->settings.stream_idle_timeout;
    const bool by_close = reply_.head.framing.kind == Framing::Kind::until_close;
    const bool head_alone = sse_ || reply_.head.framing.kind != Framing::Kind::length;
    compose_head();
    std::vector<std::string_view> runs;
    std::vector<std::string_view> relay;
    std::string first = std::move(held_);
    held_.clear();
    for (;;) {
        runs.clear();
        relay.clear();
        if (!first.empty()) {
            runs.push_back(first);
        } else {
            auto taken = reader_.take(runs);
            if (!taken) {
                Failure failure(Errc::upstream_bad_response, Origin::upstream,
                                taken.error().detail());
                co_return co_await cut(std::move(failure));
            }
        }
        scan(runs, relay);
        const bool done = reader_.done();
        if (done && context_.hides_usage && !relay.empty()) {
            // What the scanner gave out lives until its next call, which is `finish`.
            auto written = co_await send(relay, false);
            if (!written) {
                co_return co_await cut(written.error());
            }
            relay.clear();
        }
        if (done) {
            finish_scan(relay);
            note_usage();
            give_connection_back();
            if (by_close && sse_ && !stream_->terminal_seen() && !inflater_) {
                Failure failure(Errc::upstream_reset, Origin::upstream, "no terminal event");
                if (!head_sent_ || !relay.empty()) {
                    auto written = co_await send(relay, false);
                    if (!written) {
                        co_return co_await cut(written.error());
                    }
                }
                co_return co_await cut(std::move(failure));
            }
        }
        if (done || !relay.empty() || (!head_sent_ && head_alone)) {
            auto written = co_await send(relay, done);
            if (!written) {
                co_return co_await cut(written.error());
            }
        }
        if (done) {
            co_return core::Result<void>();
        }
        if (!first.empty()) {
            first.clear();
        } else {
            reader_.drop();
        }
        auto limit = core::Deadline::after(std::chrono::steady_clock::now(), idle_limit);
        if (!(sse_ || context_.forward) || !head_sent_) {
            limit = limit.min(context_.total);
        }
        watchdog.expect(limit);
        auto filled = co_await reader_.fill();
        if (!filled) {
            note_usage();
            co_return co_await cut(upstream_failure(filled.error()));
        }
    }
}

void Relay::give_connection_back()
{
    // Before the last bytes are written: a client that has read them finds the connection in the pool.
    if (reply_.head.keep_alive && reader_.ended_cleanly() && upload_.complete()) {
        last_ = std::move(lease_.buffer());
        context_.exchange.watchdog().guard_upstream(nullptr);
        lease_.keep();
    }
}

}  // namespace llmproxy::pipeline
