#include "llmproxy/policy/retry_plan.hpp"

#include "llmproxy/policy/backoff.hpp"

namespace llmproxy::policy {

using Action = RetryDecision::Action;

void RetryPlan::dispatched(const RetryDecision& decision) noexcept
{
    attempts_ += decision.counts ? 1 : 0;
    withdrawn_ += decision.draws_budget ? 1 : 0;
    if (decision.action == Action::other_backend) {
        key_moved_ = false;
    } else if (decision.action == Action::other_key) {
        key_moved_ = true;
    }
    delay_.reset();
}

RetryDecision RetryPlan::after(const AttemptFacts& facts, const RetryOptions& options) noexcept
{
    sent_ += facts.bytes_sent ? 1 : 0;
    has_reply_ = has_reply_ || facts.end == AttemptEnd::refused;

    RetryDecision decision;
    const bool finished =
        facts.bytes_relayed || !options.replayable || options.remaining <= core::Duration(0) ||
        facts.end == AttemptEnd::header_timeout || facts.end == AttemptEnd::ended_here;
    const bool written = facts.end != AttemptEnd::not_sent;
    const bool forbidden = kind_ == RequestKind::other && written;
    const bool free =
        facts.end == AttemptEnd::dead_pooled && !free_retry_used_ && options.same_backend;
    const bool spent = attempts_ > settings_.max_retries;
    if (!finished && !forbidden && free) {
        free_retry_used_ = true;
        decision.action = Action::same_backend;
        decision.fresh_connection = true;
        decision.counts = false;
    } else if (!finished && !forbidden && !spent) {
        switch (facts.end) {
        case AttemptEnd::not_sent: decision = move_or_wait(options, std::nullopt); break;
        case AttemptEnd::dead_pooled:
        case AttemptEnd::no_reply: decision = once(options); break;
        case AttemptEnd::refused: decision = after_refusal(facts, options); break;
        case AttemptEnd::header_timeout:
        case AttemptEnd::ended_here: break;
        }
    }
    if (facts.end == AttemptEnd::refused && facts.reply.cools_key) {
        const bool limited = facts.reply.reply_class == ReplyClass::rate_limit;
        const auto rest = limited && facts.reply.status == 429 ? next_delay() : kRejectedKeyRest;
        const auto asked = facts.reply.retry_after.value_or(core::Duration(0));
        decision.key_rest = asked > core::Duration(0) ? asked : rest;
    }
    decision.draws_budget = decision.action != Action::pass_on && sent_ > withdrawn_;
    return decision;
}

RetryDecision RetryPlan::after_refusal(const AttemptFacts& facts,
                                       const RetryOptions& options) noexcept
{
    if (facts.reply.permission == RetryPermission::never) {
        return {};
    }
    if (kind_ == RequestKind::idempotent && once_used_) {
        return {};
    }
    RetryDecision decision;
    const bool rejected = facts.reply.permission == RetryPermission::other_key;
    const bool limited = facts.reply.reply_class == ReplyClass::rate_limit && facts.reply.cools_key;
    const bool may_move_key =
        options.same_backend && options.other_key && (limited || (rejected && !key_moved_));
    if (may_move_key) {
        decision.action = Action::other_key;
    } else if (!rejected) {
        decision = move_or_wait(options, facts.reply.retry_after);
    } else if (options.other_backend) {
        decision.action = Action::other_backend;
    }
    if (kind_ == RequestKind::idempotent && decision.action != Action::pass_on) {
        once_used_ = true;
        decision.fresh_connection = true;
    }
    return decision;
}

/// The upstream may have done the work, so there is one more try, on a connection that is not old.
RetryDecision RetryPlan::once(const RetryOptions& options) noexcept
{
    if (once_used_) {
        return {};
    }
    auto decision = move_or_wait(options, std::nullopt);
    once_used_ = decision.action != Action::pass_on;
    decision.fresh_connection = once_used_;
    return decision;
}

RetryDecision RetryPlan::move_or_wait(const RetryOptions& options,
                                      std::optional<core::Duration> hint) noexcept
{
    RetryDecision decision;
    if (options.other_backend) {
        decision.action = Action::other_backend;
        return decision;
    }
    const bool asked = hint && *hint > core::Duration(0);
    const auto delay = asked ? *hint : next_delay();
    const bool too_long = asked && delay > kLongestWait;
    if (options.same_backend && !too_long && delay < options.remaining) {
        decision.action = Action::same_backend;
        decision.delay = delay;
    }
    return decision;
}

core::Duration RetryPlan::next_delay() noexcept
{
    if (!delay_) {
        delay_ = backoff_delay(settings_.backoff, attempts_, random_);
    }
    return *delay_;
}

RetryEnding RetryPlan::ending(RetryStop stop) const noexcept
{
    if (stop == RetryStop::client_gone) {
        return RetryEnding::nothing;
    }
    if (has_reply_) {
        return RetryEnding::last_reply;
    }
    switch (stop) {
    case RetryStop::deadline: return RetryEnding::upstream_timeout;
    case RetryStop::circuit_open: return RetryEnding::circuit_open;
    case RetryStop::budget_empty:
    case RetryStop::client_gone: break;
    }
    return RetryEnding::last_failure;
}

}  // namespace llmproxy::policy
