#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/policy/reply_classifier.hpp"
#include "llmproxy/policy/settings.hpp"

#include <cstdint>
#include <optional>

namespace llmproxy::policy {

/// What may be done with a request that has been sent.
enum class RequestKind : std::uint8_t {
    inference,   ///< an inference route whose body is held: may be sent again by the rules
    idempotent,  ///< GET or HEAD without a body on another route: once more
    other        ///< never, once a byte of it was written
};

/// How an attempt ended without having answered the client.
enum class AttemptEnd : std::uint8_t {
    not_sent,  ///< DNS, connect or TLS failed: no byte of the request was written
    dead_pooled,  ///< a pooled connection was found closed: no byte of a reply, nobody read the request
    no_reply,  ///< reset, end or something that is not HTTP in place of a reply
    refused,   ///< a reply with an error status, or an error frame first in a stream: see `reply`
    header_timeout,  ///< the upstream has the request and was silent for too long
    ended_here       ///< client gone, shutdown, no place in the pool, our own limits
};

/// One attempt, as it was.
struct AttemptFacts {
    AttemptEnd end = AttemptEnd::ended_here;
    ReplyVerdict reply;          ///< of AttemptEnd::refused
    bool bytes_sent = false;     ///< of the request, to somebody who may have read them
    bool bytes_relayed = false;  ///< of a reply, to the client: nothing is sent again after that
};

/// Where the request could go now.
struct RetryOptions {
    bool replayable = true;    ///< all of the request is still here
    bool same_backend = true;  ///< its circuit admits
    bool other_key = false;    ///< the same backend has another key that does not rest
    bool other_backend =
        false;  ///< another may serve it, admits, was not tried; false on routes with state there
    core::Duration remaining = core::Duration::max();  ///< until the request's deadline
};

/// What to do next.
struct RetryDecision {
    enum class Action : std::uint8_t {
        pass_on,       ///< answer the client with what there is
        same_backend,  ///< after `delay`
        other_key,     ///< of the same backend, at once
        other_backend  ///< at once
    };
    Action action = Action::pass_on;
    core::Duration delay{0};
    bool fresh_connection = false;  ///< not a pooled one
    bool counts = true;             ///< as an attempt and against `max_retries`
    bool draws_budget =
        false;  ///< RetryBudget::try_withdraw when it is sent; without a token: pass on
    /// How long the key of the attempt that ended rests, if it is to rest.
    std::optional<core::Duration> key_rest;

    friend bool operator==(const RetryDecision&, const RetryDecision&) = default;
};

/// Why a retry that was decided is not made after all.
enum class RetryStop : std::uint8_t { deadline, circuit_open, budget_empty, client_gone };

/// What the client gets then.
enum class RetryEnding : std::uint8_t {
    last_reply,        ///< the last reply of an upstream
    last_failure,      ///< the error of the last attempt
    upstream_timeout,  ///< 504
    circuit_open,      ///< 503 with Retry-After
    nothing            ///< there is nobody to answer
};

/// The rules by which one request is sent again, in one place. Made per request; the attempt loop reports and obeys:
///
///     plan.dispatched(first);  send ...
///     decision = plan.after(facts, options)
///     wait decision.delay; withdraw if it draws; plan.dispatched(decision); send ...
///
///   - Nothing after a byte was relayed, nothing after AttemptEnd::header_timeout or ended_here.
///   - not_sent: always, within `max_retries`. dead_pooled: once for free, at once, on a fresh connection.
///   - no_reply: once per request, on a fresh connection, because the upstream may have done the work.
///   - refused: as the verdict permits. A key that is refused moves once per backend to another key, then to another backend; a
///     rate limit moves to a key that does not rest.
///   - RequestKind::idempotent is sent once more in all, RequestKind::other only after not_sent.
///   - Another backend is tried at once. The same one waits for the backoff delay, or exactly as long as the upstream
///     asks, if that is at most kLongestWait and before the deadline; longer is passed on.
///   - The budget pays for every attempt that sends bytes beyond the request's first.
///
/// Thread safety: none. Lifetime: `settings` and `random` must outlive it. No I/O, no clock.
class RetryPlan {
public:
    /// The longest Retry-After that is waited for.
    static constexpr core::Duration kLongestWait = std::chrono::seconds(5);
    /// How long a key rests after 401, 402, 403 or a spent quota, if the reply names no time.
    static constexpr core::Duration kRejectedKeyRest = std::chrono::seconds(60);

    RetryPlan(RequestKind kind, const Settings& settings, RandomSource& random) noexcept
        : kind_(kind), settings_(settings), random_(random)
    {
    }

    /// The first attempt, or one that was decided, is being sent.
    void dispatched(const RetryDecision& decision = {}) noexcept;
    /// An attempt has ended: what next. Once per attempt.
    [[nodiscard]] RetryDecision after(const AttemptFacts& facts,
                                      const RetryOptions& options) noexcept;
    /// What the client gets when a decided retry cannot be made.
    [[nodiscard]] RetryEnding ending(RetryStop stop) const noexcept;

    /// Attempts sent, for `x-llm-proxy-attempts`; the free one after a dead pooled connection is not counted.
    [[nodiscard]] std::uint32_t attempts() const noexcept { return attempts_; }
    /// Whether an error that the client gets now carries `x-should-retry: false`: retries were made, so that those of an
    /// SDK would multiply them. Not for `circuit_open`, which says when to come back.
    [[nodiscard]] bool forbids_client_retry(bool circuit_open) const noexcept
    {
        return attempts_ > 1 && !circuit_open;
    }

private:
    [[nodiscard]] RetryDecision after_refusal(const AttemptFacts& facts,
                                              const RetryOptions& options) noexcept;
    [[nodiscard]] RetryDecision once(const RetryOptions& options) noexcept;
    [[nodiscard]] RetryDecision move_or_wait(const RetryOptions& options,
                                             std::optional<core::Duration> hint) noexcept;
    [[nodiscard]] core::Duration next_delay() noexcept;

    RequestKind kind_;
    const Settings& settings_;
    RandomSource& random_;
    std::uint32_t attempts_ = 0;
    std::uint32_t sent_ = 0;       // attempts that sent bytes
    std::uint32_t withdrawn_ = 0;  // from the budget
    std::optional<core::Duration>
        delay_;  // before the next retry: drawn once, also for the key's rest
    bool free_retry_used_ = false;
    bool once_used_ = false;
    bool key_moved_ = false;  // on this backend
    bool has_reply_ = false;
};

}  // namespace llmproxy::policy
