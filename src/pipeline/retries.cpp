#include "retries.hpp"

#include "llmproxy/core/text.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>

namespace llmproxy::pipeline {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Failure;
using core::Origin;
using policy::AttemptEnd;
using policy::RequestKind;
using policy::RetryEnding;
using policy::RetryStop;
using Action = policy::RetryDecision::Action;

RequestKind kind_of(const RequestContext& context) noexcept
{
    if (context.body_is_held) {
        return RequestKind::inference;
    }
    return is_bare(context.exchange.head()) ? RequestKind::idempotent : RequestKind::other;
}

/// Whose fault a missing connection is: that of the backend, or of nobody who could be asked again.
AttemptEnd end_without_lease(const Failure& failure) noexcept
{
    switch (failure.errc()) {
    case Errc::upstream_connect_failed:
    case Errc::upstream_tls_failed: return AttemptEnd::not_sent;
    default: return AttemptEnd::ended_here;
    }
}

}  // namespace

Retries::Retries(RequestContext& context)
    : context_(context), plan_(kind_of(context), context.policies->rules, random_),
      kind_(kind_of(context))
{
    context.budget->deposit();
}

bool Retries::possible() const noexcept
{
    return kind_ == RequestKind::inference &&
           plan_.attempts() <= context_.policies->rules.max_retries;
}

void Retries::dispatched(const policy::RetryDecision& decision)
{
    plan_.dispatched(decision);
    auto& keys = context_.backend->keys();
    auto& key = context_.key;
    if (context_.home_key) {
        key = *context_.home_key;
    } else {
        key = decision.action == Action::other_key ? keys.next(key) : keys.next();
    }
    context_.exchange.record.attempts = plan_.attempts();
    if (auto* const bodies = context_.exchange.bodies.get(); bodies != nullptr) {
        bodies->hide(context_.key_text());
    }
}

policy::RetryDecision Retries::not_leased(const Failure& failure, core::SteadyTime began)
{
    policy::AttemptFacts facts;
    facts.end = end_without_lease(failure);
    failure_ = failure;
    if (facts.end == AttemptEnd::ended_here) {
        --context_.exchange.record.attempts;  // nothing was tried at the backend
    }
    if (failure.origin() == Origin::self) {
        context_.circuit.release();
    }
    const auto decision = decide(facts);
    if (decision.action != Action::pass_on || !context_.exchange.record.tries.empty()) {
        note(failure.info().code, 0, 0, began);
    } else {
        note_only(0, began);
    }
    return decision;
}

policy::RetryDecision Retries::failed(const Attempt& attempt)
{
    failure_ = attempt.failure();
    const auto decision = decide(attempt.facts());
    // A reply that is passed on is the answer; its usage is settled with it.
    const bool is_answer = decision.action == Action::pass_on && attempt.has_reply();
    if (context_.spending && !is_answer) {
        context_.spending->attempt_failed(context_, attempt.outcome(), attempt.status(),
                                          attempt.facts().bytes_sent);
    }
    if (decision.action != Action::pass_on || !context_.exchange.record.tries.empty()) {
        note(attempt.outcome(), attempt.status(), attempt.bytes_sent(), attempt.asked());
    } else {
        note_only(attempt.bytes_sent(), attempt.asked());
    }
    return decision;
}

void Retries::answered(const Attempt& attempt)
{
    if (!context_.exchange.record.tries.empty()) {
        note(context_.exchange.record.outcome, attempt.status(), attempt.bytes_sent(),
             attempt.asked());
    } else {
        note_only(attempt.bytes_sent(), attempt.asked());
    }
}

/// What is told of an attempt that no other follows and none was before.
void Retries::note_only(std::uint64_t sent, core::SteadyTime began)
{
    auto& record = context_.exchange.record;
    record.key = static_cast<std::uint32_t>(context_.key);
    record.circuit = policy::to_string(context_.backend->circuit().state());
    record.attempt_bytes = sent;
    record.times.attempt_at = began - context_.exchange.started;
}

void Retries::note(std::string_view outcome, unsigned status, std::uint64_t sent,
                   core::SteadyTime began)
{
    telemetry::AttemptRecord one;
    one.backend = context_.backend->name();
    one.key = static_cast<std::uint32_t>(context_.key);
    one.outcome = outcome;
    one.status = static_cast<std::uint16_t>(status);
    one.waited = waited_;
    one.circuit = policy::to_string(context_.backend->circuit().state());
    one.bytes_sent = sent;
    one.duration = std::chrono::steady_clock::now() - began;
    context_.exchange.record.tries.push_back(std::move(one));
}

policy::RetryDecision Retries::decide(const policy::AttemptFacts& facts)
{
    auto& backend = *context_.backend;
    // A dead pooled connection says nothing of the backend: the next attempt goes on with the same permit.
    const bool keeps_permit = facts.end == AttemptEnd::dead_pooled;
    if (!keeps_permit) {
        report(facts);
    }
    policy::RetryOptions options;
    options.replayable = facts.end == AttemptEnd::not_sent || kind_ != RequestKind::other;
    options.same_backend = keeps_permit || backend.circuit().would_admit();
    options.other_key =
        !context_.home_key && !context_.own_keys && backend.keys().has_other(context_.key);
    if (context_.targets != nullptr) {
        tried_.push_back(&backend);
        options.other_backend =
            context_.targets->has_usable(context_.exchange.record.model, tried_);
    }
    if (!context_.total.never()) {
        options.remaining = context_.total.time() - std::chrono::steady_clock::now();
    }
    const auto decision = plan_.after(facts, options);
    if (decision.key_rest && !context_.own_keys) {
        backend.keys().cool(context_.key, *decision.key_rest);
    }
    if (keeps_permit && decision.counts) {
        report(facts);
    }
    return decision;
}

void Retries::report(const policy::AttemptFacts& facts)
{
    auto& circuit = context_.circuit;
    bool failed = true;
    switch (facts.end) {
    case AttemptEnd::refused:
        failed = facts.reply.status == 0 || facts.reply.status >= 500;
        if (facts.reply.status != 0) {
            circuit.head(facts.reply.status);
        }
        circuit.release();
        break;
    case AttemptEnd::ended_here:
        failed = false;
        circuit.release();
        break;
    default: circuit.failed(); break;
    }
    if (failed) {
        context_.backend->load()->failed();
    }
}

core::Task<void> Retries::sleep(core::Duration delay)
{
    auto& watchdog = context_.exchange.watchdog();
    const auto began = std::chrono::steady_clock::now();
    asio::steady_timer timer(watchdog.executor(), began + delay);
    watchdog.watch_client(true);
    watchdog.guard_timer(&timer);
    watchdog.expect(context_.total);
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    [[maybe_unused]] auto [code] = co_await timer.async_wait(token);
    watchdog.guard_timer(nullptr);
    waited_ = std::chrono::steady_clock::now() - began;
    if (auto* const trace = context_.trace()) {
        trace->parts.push_back({"backoff", began, began + waited_});
    }
    context_.upstream_time += waited_;
}

core::Task<std::optional<RetryStop>> Retries::prepare(const policy::RetryDecision& decision)
{
    using Verdict = net::Watchdog::Verdict;
    waited_ = core::Duration(0);
    context_.pending = {};
    if (decision.delay > core::Duration(0)) {
        co_await sleep(decision.delay);
    }
    const auto verdict = context_.exchange.watchdog().verdict();
    if (verdict == Verdict::client_gone || verdict == Verdict::stopped) {
        co_return RetryStop::client_gone;
    }
    if (context_.total.passed(std::chrono::steady_clock::now())) {
        co_return RetryStop::deadline;
    }
    std::optional<upstream::Choice> choice;
    if (decision.action == Action::other_backend) {
        choice = context_.targets->choose(context_.exchange.record.model, tried_);
        if (!choice) {
            co_return RetryStop::circuit_open;
        }
    } else if (!context_.circuit) {
        context_.circuit = context_.backend->circuit().try_acquire();
        if (!context_.circuit) {
            co_return RetryStop::circuit_open;
        }
    }
    if (context_.spending && !context_.spending->may_attempt_again()) {
        co_return RetryStop::budget_empty;
    }
    if (decision.draws_budget && !context_.budget->try_withdraw()) {
        co_return RetryStop::budget_empty;
    }
    if (choice) {
        context_.take(std::move(*choice));
    } else if (context_.place != nullptr && context_.policies->backends->all().size() > 1) {
        context_.pending = context_.backend->load()->begin();
    }
    co_return std::nullopt;
}

core::Task<core::Result<void>> Retries::give_up(RetryStop stop, Attempt* last)
{
    if (context_.exchange.watchdog().verdict() == net::Watchdog::Verdict::stopped) {
        co_return Failure(Errc::cancelled, Origin::self, "shutdown");
    }
    const auto ending = plan_.ending(stop);
    close(ending == RetryEnding::circuit_open);
    switch (ending) {
    case RetryEnding::nothing:
        co_return Failure(Errc::client_gone, Origin::client, "between two attempts");
    case RetryEnding::upstream_timeout:
        co_return Failure(Errc::upstream_timeout, Origin::upstream, "between two attempts");
    case RetryEnding::circuit_open: {
        const auto opens_in = context_.targets != nullptr
                                  ? context_.targets->opens_in(context_.exchange.record.model)
                                  : context_.backend->circuit().probe_in();
        co_return circuit_open(context_, opens_in);
    }
    case RetryEnding::last_reply:
        if (last != nullptr) {
            co_return co_await last->pass_on();
        }
        if (kept_) {
            co_return co_await relay_kept();
        }
        break;
    case RetryEnding::last_failure: break;
    }
    co_return failure_;
}

void Retries::close(bool circuit_open)
{
    context_.forbids_client_retry = plan_.forbids_client_retry(circuit_open);
    auto& fields = context_.error_fields;
    if (context_.exchange.record.attempts != 0) {
        fields += "x-llm-proxy-attempts: ";
        core::append_number(fields, context_.exchange.record.attempts);
        fields += "\r\n";
    }
    if (context_.forbids_client_retry) {
        fields += "x-should-retry: false\r\n";
    }
}

/// Answers with a reply that lies here whole.
core::Task<core::Result<void>> Retries::relay_kept()
{
    auto& head = kept_->reply.head;
    if (head.framing.kind != http::Framing::Kind::none) {
        head.framing = {http::Framing::Kind::length, kept_->body.size()};
    }
    bool chunked = false;
    auto text = compose_reply_head(context_, head, chunked);
    context_.commit(head.status);
    context_.exchange.record.bytes_out = kept_->body.size();
    if (auto* const bodies = context_.exchange.bodies.get(); bodies != nullptr) {
        const std::array<std::string_view, 1> whole{kept_->body};
        bodies->add_reply(whole);
    }
    const std::array<std::string_view, 2> pieces{text, kept_->body};
    co_return co_await context_.exchange.write(std::span<const std::string_view>(pieces));
}

}  // namespace llmproxy::pipeline
