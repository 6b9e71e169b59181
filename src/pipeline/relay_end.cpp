#include "llmproxy/openai/errors.hpp"
#include "reply.hpp"

#include <utility>
#include <vector>

namespace llmproxy::pipeline {

using core::Errc;
using core::Origin;
using http::Framing;
using Verdict = net::Watchdog::Verdict;

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

bool Relay::end_body()
{
    finish_scan();
    note_usage();
    give_connection_back();
    context_.pending = {};
    const bool by_close = reply_.head.framing.kind == Framing::Kind::until_close;
    return !by_close || !stream() || stream()->terminal_seen() || inflater_;
}

core::Task<void> Relay::settle()
{
    settled_ = true;
    note_usage();
    context_.about_to_relay = total_size(relay_);
    auto settled = co_await context_.spending->settle(context_);
    if (!settled) {
        trouble_ = settled.error();
    }
}

bool Relay::has_used_up()
{
    return context_.spending && stream() && !stream()->terminal_seen() &&
           context_.spending->is_exhausted(stream()->blocks());
}

bool Relay::may_end_here()
{
    return !head_sent_ || inflater_ || stream()->given_past_boundary() <= total_size(relay_);
}

core::Task<void> Relay::end_before(std::uint64_t withheld)
{
    const auto size = total_size(relay_);
    ends_at_event_ = !inflater_ && withheld <= size;
    if (!head_sent_ || !ends_at_event_) {
        relay_.clear();
        co_return;
    }
    auto room = size - static_cast<std::size_t>(withheld);
    for (auto& run : relay_) {
        run = run.substr(0, room);
        room -= run.size();
    }
    std::erase_if(relay_, [](std::string_view run) { return run.empty(); });
    core::Failure why = std::move(*trouble_);
    if (!relay_.empty() && !write_now(false)) {
        co_await write_rest();
    }
    // Whether the client took that is not why the reply ends.
    trouble_ = std::move(why);
    relay_.clear();
}

void Relay::give_connection_back()
{
    // Before the last bytes are written: a client that has read them finds the connection in the pool.
    if (!returned_ && reply_.head.keep_alive && reader_.ended_cleanly() && upload_.complete()) {
        returned_ = true;
        last_ = std::move(lease_.buffer());
        context_.exchange.watchdog().guard_upstream(nullptr);
        lease_.keep();
    }
}

core::Task<core::Result<void>> Relay::cut()
{
    auto& exchange = context_.exchange;
    if (!settled_) {
        note_usage();
    }
    const core::Failure failure = std::move(*trouble_);
    trouble_.reset();
    const bool upstreams =
        failure.origin() == Origin::upstream || failure.errc() == Errc::upstream_timeout;
    end_ = upstreams ? End::cut_upstream : End::cut_here;
    const bool finished = stream() && stream()->terminal_seen();
    if (failure.errc() == Errc::client_gone && finished) {
        exchange.keep_alive =
            false;  // clients stop reading at the terminal event and close: that is complete
        end_ = End::complete;
        co_return core::Result<void>();
    }
    if (!exchange.committed()) {
        co_return failure;
    }
    exchange.record.outcome = failure.info().code;
    exchange.record.error = failure.describe();
    if (failure.errc() != Errc::client_gone && !exchange.was_cut()) {
        relay_.clear();
        // Where the cut is ours, the beginning of an event is worth nothing: our own event takes its place.
        const bool ours = failure.origin() == Origin::self;
        const bool readable = stream() && !inflater_;
        const bool drop_held =
            ends_at_event_ || (readable && ours && (finished || stream()->holds_back()));
        const bool boundary = ends_at_event_ || (readable && !finished &&
                                                 (stream()->at_event_boundary() || drop_held));
        if (readable && !drop_held) {
            stream()->finish(relay_);
        }
        std::string event;
        if (boundary && chunked_out_) {
            event = openai::stream_error_event(context_.route, failure);
            relay_.push_back(event);
        }
        if (!relay_.empty() && !write_now(false)) {
            co_await write_rest();
        }
        if (trouble_) {
            exchange.record.error += "; the client did not take the end";
        }
    }
    const bool by_reset = !chunked_out_ && reply_.head.framing.kind != Framing::Kind::length;
    exchange.cut(by_reset);
    co_return core::Result<void>();
}

}  // namespace llmproxy::pipeline
