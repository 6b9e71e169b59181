#include "reply.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/openai/errors.hpp"

#include <array>
#include <boost/asio/error.hpp>
#include <charconv>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using http::FieldName;
using http::Framing;
using Verdict = net::Watchdog::Verdict;

constexpr std::size_t kMaxHeldError = policy::kMaxClassifiedBody;
constexpr std::size_t kMaxHeldStream = std::size_t{16} * 1024;
constexpr std::chrono::seconds kLongestHold{1};

bool is_type(std::string_view content_type, std::string_view wanted)
{
    return core::iequals(core::trim(content_type.substr(0, content_type.find(';'))), wanted);
}

/// Where the first block of a stream ends: behind its blank line; 0 if it is not complete.
std::size_t first_block_end(std::string_view stream)
{
    bool line_empty = false;  // a byte order mark or a first line end is no blank line of a block
    for (std::size_t i = 0; i < stream.size(); ++i) {
        if (stream[i] != '\n' && stream[i] != '\r') {
            line_empty = false;
            continue;
        }
        const bool crlf = stream[i] == '\r' && i + 1 < stream.size() && stream[i + 1] == '\n';
        i += crlf ? 1 : 0;
        if (line_empty) {
            return i + 1;
        }
        line_empty = true;
    }
    return 0;
}

}  // namespace

Relay::Relay(RequestContext& context, upstream::Lease& lease, const Upload& upload,
             ReplyHead& reply, bool may_retry)
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
    const auto encoding = core::trim(fields.get(FieldName::content_encoding));
    const auto coding = openai::coding_of(encoding);
    const bool plain = encoding.empty() || core::iequals(encoding, "identity");
    if (coding) {
        inflater_.emplace(*coding);
    }
    const bool readable = (sse_ || is_type(type, "application/json")) && (plain || coding);
    if (sse_ && readable) {
        // What passes untouched cannot be hidden.
        scan_.emplace<openai::StreamScanner>(context.route, plain && context.hides_usage &&
                                                                reply.head.status == 200);
    } else if (readable && reply.head.status == 200) {
        scan_.emplace<openai::ReplyScanner>();
    }
    if (readable && context.tells_ids && reply.head.status < 300) {
        ids_ = std::make_unique<openai::IdScanner>(
            openai::is_inference(context.route) ? 1 : openai::IdScanner::kMaxIds);
    }
    holding_ = may_retry && sse_ && plain && reply.head.status == 200;
    context.exchange.record.stream = sse_;
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

bool Relay::write_now(bool last)
{
    const auto size = total_size(relay_);
    pieces_.clear();
    if (!head_sent_) {
        pieces_.push_back(head_);
        context_.commit(reply_.head.status);
    }
    if (chunked_out_ && size != 0) {
        pieces_.push_back(chunk_line(size));
    }
    pieces_.insert(pieces_.end(), relay_.begin(), relay_.end());
    if (chunked_out_) {
        if (size != 0 && last) {
            pieces_.push_back("\r\n0\r\n\r\n");
        } else if (size != 0) {
            pieces_.push_back("\r\n");
        } else if (last) {
            pieces_.push_back("0\r\n\r\n");
        }
    }
    pending_ = size;
    if (auto* const bodies = context_.exchange.bodies.get(); bodies != nullptr) {
        bodies->add_reply(relay_);
    }
    if (pieces_.empty()) {
        return true;
    }
    const auto written = context_.exchange.write_now(pieces_);
    if (!written) {
        trouble_ = written.error();
        return true;
    }
    if (*written) {
        note_written();
    }
    return *written;
}

std::string_view Relay::chunk_line(std::size_t size)
{
    char* end = std::to_chars(line_.data(), line_.data() + line_.size() - 2, size, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    return {line_.data(), static_cast<std::size_t>(end - line_.data())};
}

core::Task<void> Relay::write_rest()
{
    auto written = co_await context_.exchange.write_rest(pieces_);
    if (written) {
        note_written();
    } else {
        trouble_ = written.error();
    }
}

void Relay::note_written()
{
    if (!head_sent_) {
        head_sent_ = true;
        std::string().swap(head_);
        // A long quiet stream keeps no more than it needs.
        reply_.head.fields = http::Fields();
        std::string().swap(reply_.raw);
    }
    auto& record = context_.exchange.record;
    record.bytes_out += pending_;
    if (sse_ && pending_ != 0 && record.times.first_piece < core::Duration::zero()) {
        record.times.first_piece = std::chrono::steady_clock::now() - context_.exchange.started;
    }
}

bool Relay::take_runs()
{
    auto taken = reader_.take(runs_);
    if (!taken) {
        trouble_.emplace(Errc::upstream_bad_response, Origin::upstream, taken.error().detail());
    }
    return taken.has_value();
}

bool Relay::take_piece()
{
    runs_.clear();
    relay_.clear();
    if (holding_) {
        return look_at_beginning();
    }
    if (!held_.empty()) {
        runs_.push_back(held_);
    } else if (!take_runs()) {
        return false;
    }
    scan();
    return true;
}

bool Relay::look_at_beginning()
{
    if (!take_runs()) {
        return false;
    }
    // Next to always the first block comes whole in one piece, which then needs no copy.
    const bool one_piece = held_.empty() && runs_.size() == 1;
    if (!one_piece) {
        for (const auto run : runs_) {
            held_.append(run);
        }
        reader_.drop();
    }
    const auto seen = one_piece ? runs_.front() : std::string_view(held_);
    const auto end = first_block_end(seen);
    const auto block = end == 0 ? seen : seen.substr(0, end);
    holding_ = end == 0 && seen.size() < kMaxHeldStream && !reader_.done();
    if (!holding_) {
        refusal_ = policy::classify_frame(block, {}, {});
        if (refusal_) {
            // Dates and hints are read only where there is an error.
            refusal_ = policy::classify_frame(block, retry_headers(reply_.head.fields),
                                              std::chrono::system_clock::now());
        }
    }
    if (one_piece && (holding_ || refusal_)) {
        held_ = seen;
        reader_.drop();
    }
    if (holding_ || refusal_) {
        return true;
    }
    if (!one_piece) {
        runs_.assign(1, held_);
    }
    scan();
    return true;
}

void Relay::drop_piece()
{
    if (!held_.empty()) {
        std::string().swap(held_);
        scanned_held_ = true;
    } else {
        reader_.drop();
    }
}

core::Task<core::Result<void>> Relay::run()
{
    const bool head_alone = sse_ || reply_.head.framing.kind != Framing::Kind::length;
    const bool resumed = refusal_.has_value();
    while (take_piece()) {
        if (refusal_ && !resumed) {
            co_return core::Result<void>();
        }
        if (!holding_) {
            const bool done = reader_.done();
            if (has_used_up() && may_end_here()) {
                trouble_.emplace(Errc::insufficient_quota, Origin::self,
                                 "the stream has used more than was reserved");
                co_await end_before(stream()->given_past_boundary());
                break;
            }
            // Who sees the end of a stream must find its usage in the store.
            if (context_.spending && stream() && stream()->terminal_seen() && !settled_) {
                co_await settle();
                if (trouble_) {
                    co_await end_before(stream()->given_past_terminal());
                    break;
                }
            }
            if (head_.empty() && !head_sent_) {
                head_ = compose_reply_head(context_, reply_.head, chunked_out_);
            }
            if (done && context_.hides_usage && !relay_.empty()) {
                // What the scanner gave out lives until its next call, which is in `end_body`.
                if (!write_now(false)) {
                    co_await write_rest();
                }
                relay_.clear();
            }
            const bool whole = !done || trouble_ || end_body();
            if (done && whole && context_.spending && !settled_) {
                co_await settle();
                if (trouble_ && stream()) {
                    co_await end_before(stream()->given_past_boundary());
                }
            }
            const bool due = !relay_.empty() || (!head_sent_ && (head_alone || !whole));
            if (!trouble_ && (due || (done && whole)) && !write_now(done && whole)) {
                co_await write_rest();
            }
            if (!whole && !trouble_) {
                trouble_.emplace(Errc::upstream_reset, Origin::upstream, "no terminal event");
            }
            if (trouble_) {
                break;
            }
            if (done) {
                co_return core::Result<void>();
            }
            drop_piece();
        }
        const auto now = std::chrono::steady_clock::now();
        auto limit = core::Deadline::after(now, context_.policies->settings.stream_idle_timeout);
        if (!(sse_ || context_.forward) || !head_sent_) {
            limit = limit.min(context_.total);
        }
        if (holding_) {
            hold_until_ = hold_until_ == core::SteadyTime() ? now + kLongestHold : hold_until_;
            limit = limit.min(core::Deadline(hold_until_));
        }
        context_.exchange.watchdog().expect(limit);
        const auto filled = co_await reader_.fill();
        if (!filled) {
            const bool held_enough = holding_ && limit.time() == hold_until_ &&
                                     context_.exchange.watchdog().verdict() == Verdict::expired;
            holding_ = false;
            if (held_enough) {
                context_.exchange.watchdog().watch_client(true);  // the expiry has ended that
                continue;
            }
            trouble_ = upstream_failure(filled.error());
            break;
        }
    }
    co_return co_await cut();
}

}  // namespace llmproxy::pipeline
