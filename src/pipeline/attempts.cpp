#include "attempt.hpp"
#include "request_context.hpp"
#include "retries.hpp"

#include <algorithm>

namespace llmproxy::pipeline {
namespace {

/// What of the body is changed for the target that was chosen.
void plan_body(RequestContext& context)
{
    context.splices.clear();
    context.hides_usage = false;
    const bool wanted = context.facts && context.facts->stream &&
                        openai::takes_stream_options(context.route) &&
                        !context.facts->wants_usage() && context.backend->injects_usage();
    if (wanted) {
        if (auto splice = openai::usage_splice(*context.facts)) {
            context.splices.push_back(std::move(*splice));
            context.hides_usage = true;
        }
    }
    const bool renamed = context.place != nullptr && !context.place->model.empty();
    if (renamed && context.model_at && context.route != openai::Route::realtime) {
        context.splices.push_back(
            {context.model_at->offset, context.model_at->size, context.place->model});
    } else if (renamed && context.facts) {
        if (auto splice = openai::model_splice(context.body, context.place->model_json)) {
            context.splices.push_back(std::move(*splice));
        }
    }
    if (context.token_limit) {
        context.splices.push_back(*context.token_limit);
    }
    std::sort(context.splices.begin(), context.splices.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
}

void begin_in_trace(const RequestContext& context, telemetry::Trace& trace)
{
    auto& attempt = trace.attempt();
    attempt.backend = context.backend->name();
    attempt.provider = context.exchange.record.provider;
    attempt.upstream = context.backend->address();
    attempt.model = asked_model(context.place, context);
}

void note_lease(telemetry::TraceAttempt& attempt, core::SteadyTime began,
                const upstream::LeaseTimes& took)
{
    auto at = began;
    const auto note = [&](std::string_view name, core::Duration time, core::Duration least) {
        if (time >= least) {
            attempt.note(name, at, at + time);
        }
        at += std::max(time, core::Duration(0));
    };
    note("pool", took.queue, std::chrono::milliseconds(1));  // there is a place, as a rule
    note("dns", took.connect.resolve, core::Duration(0));
    note("connect", took.connect.connect, core::Duration(0));
    note("tls", took.connect.tls, core::Duration(0));
}

void end_in_trace(telemetry::TraceAttempt& attempt, std::string_view outcome)
{
    attempt.ended = std::chrono::steady_clock::now();
    attempt.outcome = outcome;
}

/// \param failed  how, if the client does not get this one's reply.
void note_exchange(const RequestContext& context, telemetry::TraceAttempt& one,
                   const Attempt& attempt, const core::Result<void>& result,
                   std::string_view failed)
{
    const auto& record = context.exchange.record;
    one.answered = failed.empty();
    one.status = static_cast<std::uint16_t>(attempt.status());
    std::string_view outcome = failed;
    if (one.answered) {
        const bool refused = attempt.facts().end == policy::AttemptEnd::refused;
        outcome = !result                             ? result.error().info().code
                  : refused && record.outcome == "ok" ? attempt.outcome()
                                                      : record.outcome;
    }
    end_in_trace(one, outcome);
    attempt.note_parts(one);
}

}  // namespace

core::Task<core::Result<void>> run_attempts(RequestContext& context)
{
    using Action = policy::RetryDecision::Action;
    auto& watchdog = context.exchange.watchdog();
    Retries retries(context);
    policy::RetryDecision next;
    bool again = false;  // once more without our addition, which is no attempt of its own
    for (;;) {
        if (!again) {
            auto found = co_await find_own_keys(context);
            if (!found) {
                retries.close(false);
                co_return found;
            }
            retries.dispatched(next);
        }
        again = false;
        if (auto* const trace = context.trace()) {
            begin_in_trace(context, *trace);
        }
        plan_body(context);
        std::optional<Attempt> attempt;
        auto lease = next.fresh_connection ? std::nullopt : context.backend->lease_pooled();
        if (!lease) {
            const auto now = std::chrono::steady_clock::now();
            const auto queue_until =
                core::Deadline::after(now, context.policies->settings.queue_timeout)
                    .min(context.total);
            upstream::LeaseTimes took;
            watchdog.watch_client(true);
            auto got = co_await context.backend->lease(next.fresh_connection, queue_until,
                                                       context.total, watchdog, took);
            watchdog.watch_client(false);
            if (auto* const trace = context.trace()) {
                note_lease(trace->attempts.back(), now, took);
            }
            context.upstream_time += std::chrono::steady_clock::now() - now;
            if (got) {
                lease.emplace(std::move(*got));
            } else {
                next = retries.not_leased(got.error(), now);
                if (auto* const trace = context.trace()) {
                    end_in_trace(trace->attempts.back(), got.error().info().code);
                }
                if (next.action == Action::pass_on) {
                    retries.close(false);
                    co_return got.error();
                }
            }
        }
        if (lease) {
            watchdog.guard_upstream(&lease->stream());
            attempt.emplace(context, std::move(*lease));
            lease.reset();
            if (context.spending) {
                context.spending->begin_attempt(context);
            }
            auto came = co_await attempt->run(retries.possible());
            auto result = attempt->result();
            if (came == Attempt::Next::failed) {
                next = retries.failed(*attempt);
                if (next.action == Action::pass_on) {
                    retries.close(false);
                    result = co_await attempt->pass_on();
                    came = Attempt::Next::answered;
                }
            } else if (came == Attempt::Next::answered) {
                retries.answered(*attempt);
            }
            if (attempt->uploading()) {
                co_await attempt->end_upload();
            }
            attempt->finish();
            if (auto* const trace = context.trace()) {
                const auto failed = came == Attempt::Next::answered        ? std::string_view()
                                    : came == Attempt::Next::without_usage ? "without_usage"
                                                                           : attempt->outcome();
                note_exchange(context, trace->attempts.back(), *attempt, result, failed);
            }
            watchdog.guard_upstream(nullptr);
            if (came == Attempt::Next::answered) {
                co_return result;
            }
            again = came == Attempt::Next::without_usage;
        }
        if (again) {
            next.fresh_connection = false;
            continue;
        }
        if (attempt && (attempt->reply_is_whole() || !attempt->has_reply())) {
            if (attempt->has_reply()) {
                retries.keep(attempt->take_reply());
            }
            attempt.reset();  // its connection is free while the retry waits
        }
        const auto stop = co_await retries.prepare(next);
        if (stop) {
            co_return co_await retries.give_up(*stop, attempt ? &*attempt : nullptr);
        }
    }
}

}  // namespace llmproxy::pipeline
