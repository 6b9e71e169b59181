#include "attempt.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/tunnel.hpp"

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using policy::AttemptEnd;
using Verdict = net::Watchdog::Verdict;

/// Blanks every echo of a key in a body, leaving its length.
void mask(std::string& body, const core::Secret& key)
{
    if (key.empty()) {
        return;
    }
    const auto& text = key.reveal();
    for (auto at = body.find(text); at != std::string::npos;
         at = body.find(text, at + text.size())) {
        body.replace(at, text.size(), text.size(), '*');
    }
}

}  // namespace

Attempt::Attempt(RequestContext& context, upstream::Lease lease)
    : context_(context), lease_(std::move(lease)), upload_(context, lease_.stream())
{
}

core::Task<Attempt::Next> Attempt::run(bool may_retry)
{
    auto& exchange = context_.exchange;
    if (context_.trace() != nullptr) {
        began_ = std::chrono::steady_clock::now();
    }
    auto sent = send_request();
    if (sent && sent_ != total_) {
        sent = co_await send_rest();
    }
    asked_ = std::chrono::steady_clock::now();
    facts_.bytes_sent = sent_ != 0;
    if (!sent) {
        co_return died(
            Failure(Errc::upstream_reset, Origin::upstream, "sending the request", sent.error()));
    }
    std::string().swap(head_);
    if (context_.body_is_held || has_no_body(exchange.head())) {
        exchange.watchdog().watch_client(true);
    }
    upload_.start();
    auto got = co_await read_reply_head(context_, lease_, upload_, reply_);
    const auto took = std::chrono::steady_clock::now() - asked_;
    context_.upstream_time += took;
    if (!got) {
        if (got.error().errc() == Errc::upstream_timeout) {
            context_.learn_head_time(took);
        }
        co_return no_head(got.error());
    }
    head_at_ = asked_ + took;
    exchange.record.times.upstream_first_byte = took;
    context_.upstream_status = reply_.head.status;
    context_.learn_head_time(took);
    if (reply_.head.status >= 400) {
        co_return co_await refused();
    }
    if (reply_.head.status == 101) {
        co_return co_await tunnel();
    }
    relay_.emplace(context_, lease_, upload_, reply_, may_retry);
    result_ = co_await relay_->run();
    co_return note_relayed();
}

Attempt::Next Attempt::note_relayed()
{
    if (relay_->refusal()) {
        facts_.end = AttemptEnd::refused;
        facts_.reply = *relay_->refusal();
        return Next::failed;
    }
    if (!result_) {
        return cut_short(result_.error());
    }
    const auto& head = context_.exchange.head();
    if (head.verb == http::Verb::delete_ && context_.resources != nullptr &&
        reply_.head.status < 300) {
        const auto ids = openai::ids_in_path(context_.target.path);
        if (!ids.empty()) {
            context_.resources->forget(ids.back());
        }
    }
    switch (relay_->end()) {
    case Relay::End::complete: context_.circuit.completed(); break;
    case Relay::End::cut_upstream: context_.circuit.failed(); break;
    case Relay::End::cut_here: context_.circuit.release(); break;
    }
    return Next::answered;
}

core::Task<core::Result<void>> Attempt::pass_on()
{
    if (!has_reply()) {
        co_return failure_;
    }
    context_.exchange.watchdog().guard_upstream(&lease_.stream());
    co_return co_await relay_->run();
}

std::unique_ptr<KeptReply> Attempt::take_reply()
{
    auto kept = std::make_unique<KeptReply>();
    kept->body = std::move(relay_->held_body());
    relay_->give_connection_back();
    relay_.reset();
    // The head's views survive the move: no head is so short that a string has room for it in itself.
    kept->reply = std::move(reply_);
    return kept;
}

std::string_view Attempt::outcome() const noexcept
{
    return facts_.end == AttemptEnd::refused ? policy::to_string(facts_.reply.reply_class)
                                             : failure_.info().code;
}

void Attempt::note_parts(telemetry::TraceAttempt& into) const
{
    const bool headed = head_at_ != core::SteadyTime{};
    into.note("send", began_, asked_);
    into.note("first_byte", asked_, headed ? head_at_ : into.ended);
    if (headed) {
        into.note("relay", head_at_, into.ended);
    }
}

void Attempt::finish()
{
    const bool sent_before = context_.body_is_held || has_no_body(context_.exchange.head());
    if (!sent_before && !upload_.complete()) {
        context_.exchange.keep_alive = false;
    }
}

/// Writes head and held body as far as the socket takes them.
net::IoResult<void> Attempt::send_request()
{
    head_ = compose_request_head(context_, context_.key_text());
    pieces_[0] = head_;
    if (context_.body_is_held) {
        body_pieces(context_, std::span(pieces_).subspan(1));
    }
    for (const auto piece : pieces_) {
        total_ += piece.size();
    }
    const auto sent = lease_.stream().try_write(pieces_);
    if (!sent) {
        return sent.error();
    }
    sent_ = *sent;
    return {};
}

core::Task<net::IoResult<void>> Attempt::send_rest()
{
    context_.exchange.watchdog().expect(
        core::Deadline::after(std::chrono::steady_clock::now(),
                              context_.policies->settings.write_timeout)
            .min(context_.total));
    auto written = co_await lease_.stream().write(pieces_, sent_);
    sent_ = total_;  // how much of it went out before a failure is not known
    co_return written;
}

Attempt::Next Attempt::failed(AttemptEnd end, Failure failure)
{
    facts_.end = end;
    failure_ = std::move(failure);
    return Next::failed;
}

/// The connection broke before anything of a reply came.
Attempt::Next Attempt::died(Failure failure)
{
    switch (context_.exchange.watchdog().verdict()) {
    case Verdict::expired:
        return failed(AttemptEnd::header_timeout,
                      {Errc::upstream_timeout, Origin::upstream, failure.detail()});
    case Verdict::client_gone:
        return failed(AttemptEnd::ended_here,
                      {Errc::client_gone, Origin::client, failure.detail()});
    case Verdict::stopped:
        return failed(AttemptEnd::ended_here, {Errc::cancelled, Origin::self, "shutdown"});
    case Verdict::none: break;
    }
    if (lease_.reused()) {
        return failed(AttemptEnd::dead_pooled, std::move(failure));
    }
    return failed(facts_.bytes_sent ? AttemptEnd::no_reply : AttemptEnd::not_sent,
                  std::move(failure));
}

Attempt::Next Attempt::no_head(const Failure& failure)
{
    const bool untouched = failure.errc() == Errc::upstream_reset && !reply_.any_byte;
    return untouched ? died(failure) : cut_short(failure);
}

/// A reply that did not come to its end, before any of it went to the client.
Attempt::Next Attempt::cut_short(const Failure& failure)
{
    switch (failure.errc()) {
    case Errc::upstream_timeout: return failed(AttemptEnd::header_timeout, failure);
    case Errc::upstream_reset:
    case Errc::upstream_bad_response:
    case Errc::upstream_tls_failed: return failed(AttemptEnd::no_reply, failure);
    default: return failed(AttemptEnd::ended_here, failure);
    }
}

/// A reply with an error status: as much of it is read as the classifier looks at.
core::Task<Attempt::Next> Attempt::refused()
{
    const auto status = reply_.head.status;
    const auto& key = context_.key_text();
    facts_.end = AttemptEnd::refused;
    relay_.emplace(context_, lease_, upload_, reply_, false);
    auto whole = co_await relay_->hold_error_body();
    if (!whole) {
        const auto errc = whole.error().errc();
        if (errc == Errc::client_gone || errc == Errc::cancelled) {
            co_return cut_short(whole.error());
        }
        failure_ = whole.error();
    }
    whole_ = whole && *whole;
    auto& body = relay_->held_body();
    const bool refused_usage = whole_ && status == 400 && context_.hides_usage &&
                               body.find("stream_options") != std::string::npos;
    if (refused_usage) {
        context_.backend->stop_injecting_usage();
        co_return Next::without_usage;
    }
    mask(body, key);
    policy::ReplyFacts seen;
    seen.status = status;
    seen.body = body;
    seen.headers = retry_headers(reply_.head.fields);
    facts_.reply = policy::classify_reply(seen, std::chrono::system_clock::now());
    context_.exchange.record.refused_as = policy::to_string(facts_.reply.reply_class);
    if (status == 401 && !key.empty()) {
        failure_ = Failure(Errc::upstream_credentials_rejected, Origin::upstream,
                           "status 401 for the key of backend " + context_.backend->name());
    }
    co_return Next::failed;
}

core::Task<Attempt::Next> Attempt::tunnel()
{
    auto& exchange = context_.exchange;
    context_.commit(reply_.head.status);
    result_ = co_await pass_upgrade(context_, reply_);
    if (!result_) {
        co_return Next::answered;
    }
    http::TunnelTraffic traffic;
    co_await http::relay_tunnel(exchange.client(), exchange.buffer(), lease_.stream(),
                                lease_.buffer(), exchange.watchdog(),
                                context_.policies->settings.stream_idle_timeout, traffic);
    exchange.record.bytes_in = traffic.from_client;
    exchange.record.bytes_out = traffic.from_upstream;
    exchange.record.tunnel = http::to_string(traffic.end);
    context_.circuit.completed();
    co_return Next::answered;
}

}  // namespace llmproxy::pipeline
