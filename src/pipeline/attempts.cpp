#include "llmproxy/core/text.hpp"
#include "llmproxy/http/tunnel.hpp"
#include "reply.hpp"
#include "request_context.hpp"
#include "upload.hpp"

#include <array>

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

/// What one attempt came to, when it did not answer the client.
enum class Next : std::uint8_t {
    answered,            ///< the reply has been relayed, whole or cut
    retry_fresh,         ///< a pooled connection was dead: once more on a new one, not counted
    retry_without_usage  ///< the backend refuses stream_options: once more without our addition
};

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

class Attempt {
public:
    Attempt(RequestContext& context, upstream::Lease& lease, const core::Secret& key)
        : context_(context), lease_(lease), key_(key), upload_(context, lease.stream())
    {
    }

    /// Sends the request and relays its reply. `finish` must follow, whatever came of it.
    core::Task<core::Result<Next>> run()
    {
        auto& exchange = context_.exchange;
        auto sent = send_request();
        if (sent && !all_sent_) {
            sent = co_await send_rest();
        }
        const auto asked = std::chrono::steady_clock::now();
        if (!sent) {
            co_return died(Failure(Errc::upstream_reset, Origin::upstream, "sending the request",
                                   sent.error()));
        }
        if (context_.body_is_held || has_no_body(exchange.head())) {
            exchange.watchdog().watch_client(true);
        }
        upload_.start();
        ReplyHead reply;
        auto got = co_await read_reply_head(context_, lease_, upload_, reply);
        context_.upstream_time = std::chrono::steady_clock::now() - asked;
        if (!got) {
            const bool untouched = got.error().errc() == Errc::upstream_reset && !reply.any_byte;
            co_return untouched ? died(got.error()) : core::Result<Next>(got.error());
        }
        exchange.record.times.upstream_first_byte = context_.upstream_time;
        if (reply.head.status == 101) {
            co_return co_await tunnel(reply);
        }
        if (reply.head.status == 401 && !key_.empty()) {
            co_return Failure(Errc::upstream_credentials_rejected, Origin::upstream,
                              "status 401 for the key of backend " + context_.backend->name());
        }
        Relay relay(context_, lease_, upload_, reply);
        if (reply.head.status >= 400 && reply.head.status < 500) {
            auto whole = co_await relay.hold_error_body();
            if (!whole) {
                co_return whole.error();
            }
            auto& body = relay.held_body();
            const bool refused_usage = *whole && reply.head.status == 400 && context_.splice &&
                                       body.find("stream_options") != std::string::npos;
            if (refused_usage) {
                context_.backend->stop_injecting_usage();
                co_return Next::retry_without_usage;
            }
            mask(body, key_);
        }
        if (context_.body_is_held) {
            // From here on nothing is sent again, so a long reply does not keep its request in memory.
            std::string().swap(context_.body);
            std::string().swap(head_);
            context_.held.release();
        }
        auto relayed = co_await relay.run();
        if (!relayed) {
            co_return relayed.error();
        }
        co_return Next::answered;
    }

    /// Ends an upload that still runs.
    [[nodiscard]] bool uploading() const noexcept { return upload_.running(); }
    core::Task<void> end_upload() { return upload_.join(); }
    void finish()
    {
        if (!upload_.complete()) {
            context_.exchange.keep_alive = false;
        }
    }

private:
    /// Writes head and held body as far as the socket takes them.
    net::IoResult<void> send_request()
    {
        head_ = compose_request_head(context_, key_);
        pieces_[0] = head_;
        if (context_.body_is_held && context_.splice) {
            const auto& splice = *context_.splice;
            const std::string_view body = context_.body;
            pieces_[1] = body.substr(0, splice.offset);
            pieces_[2] = splice.text;
            pieces_[3] = body.substr(splice.offset + splice.remove);
        } else if (context_.body_is_held) {
            pieces_[1] = context_.body;
        }
        const auto sent = lease_.stream().try_write(pieces_);
        if (!sent) {
            return sent.error();
        }
        sent_ = *sent;
        std::size_t total = 0;
        for (const auto piece : pieces_) {
            total += piece.size();
        }
        all_sent_ = sent_ == total;
        return {};
    }

    core::Task<net::IoResult<void>> send_rest()
    {
        context_.exchange.watchdog().expect(
            core::Deadline::after(std::chrono::steady_clock::now(),
                                  context_.policies->settings.write_timeout)
                .min(context_.total));
        co_return co_await lease_.stream().write(pieces_, sent_);
    }

    /// The connection broke before anything of a reply came.
    core::Result<Next> died(Failure failure) const
    {
        const auto verdict = context_.exchange.watchdog().verdict();
        if (verdict == net::Watchdog::Verdict::expired) {
            return Failure(Errc::upstream_timeout, Origin::upstream, failure.detail());
        }
        if (verdict == net::Watchdog::Verdict::client_gone) {
            return Failure(Errc::client_gone, Origin::client, failure.detail());
        }
        const auto verb = context_.exchange.head().verb;
        const bool bare = has_no_body(context_.exchange.head()) &&
                          (verb == http::Verb::get || verb == http::Verb::head);
        const bool repeatable = context_.body_is_held || bare;
        if (lease_.reused() && repeatable) {
            return Next::retry_fresh;
        }
        return failure;
    }

    core::Task<core::Result<Next>> tunnel(ReplyHead& reply)
    {
        auto& exchange = context_.exchange;
        auto written = co_await pass_upgrade(context_, reply);
        if (!written) {
            co_return written.error();
        }
        http::TunnelTraffic traffic;
        co_await http::relay_tunnel(exchange.client(), exchange.buffer(), lease_.stream(),
                                    lease_.buffer(), exchange.watchdog(),
                                    context_.policies->settings.stream_idle_timeout, traffic);
        exchange.record.bytes_in = traffic.from_client;
        exchange.record.bytes_out = traffic.from_upstream;
        exchange.record.tunnel = http::to_string(traffic.end);
        co_return Next::answered;
    }

    RequestContext& context_;
    upstream::Lease& lease_;
    const core::Secret& key_;
    Upload upload_;
    std::string head_;
    std::array<std::string_view, 4>
        pieces_;            // the request: head, and the held body around its splice
    std::size_t sent_ = 0;  // bytes of them
    bool all_sent_ = false;
};

void plan_usage(RequestContext& context)
{
    context.splice.reset();
    context.hides_usage = false;
    const bool wanted = context.facts && context.facts->stream &&
                        openai::takes_stream_options(context.route) &&
                        !context.facts->wants_usage() && context.backend->injects_usage();
    if (wanted) {
        context.splice = openai::usage_splice(*context.facts);
        context.hides_usage = context.splice.has_value();
    }
}

}  // namespace

core::Task<core::Result<void>> run_attempts(RequestContext& context)
{
    auto& exchange = context.exchange;
    auto& watchdog = exchange.watchdog();
    bool fresh = false;
    for (;;) {
        plan_usage(context);
        auto lease = fresh ? std::nullopt : context.backend->lease_pooled();
        if (!lease) {
            const auto queue_until = core::Deadline::after(std::chrono::steady_clock::now(),
                                                           context.policies->settings.queue_timeout)
                                         .min(context.total);
            watchdog.watch_client(true);
            auto got = co_await context.backend->lease(fresh, queue_until, context.total, watchdog);
            watchdog.watch_client(false);
            if (!got) {
                co_return got.error();
            }
            lease.emplace(std::move(*got));
        }
        if (!fresh) {
            ++exchange.record.attempts;
        }
        watchdog.guard_upstream(&lease->stream());
        const auto& key = context.backend->next_key();
        Attempt attempt(context, *lease, key);
        auto next = co_await attempt.run();
        if (attempt.uploading()) {
            co_await attempt.end_upload();
        }
        attempt.finish();
        watchdog.guard_upstream(nullptr);
        if (!next) {
            co_return next.error();
        }
        if (*next == Next::answered) {
            co_return core::Result<void>();
        }
        fresh = *next == Next::retry_fresh;
    }
}

}  // namespace llmproxy::pipeline
