#pragma once

#include "llmproxy/policy/settings.hpp"

#include <atomic>
#include <cstdint>

namespace llmproxy::policy {

/// Keeps retries a small share of all requests, so that a failing upstream is not drowned in them.
///
/// A bucket of tokens: each request deposits a part of one, each retry withdraws one. With the defaults and R
/// requests there are never more than 0.2 R + 10 retries.
/// Thread safety: every member may be called concurrently; lock-free.
class RetryBudget {
public:
    explicit RetryBudget(RetryBudgetSettings settings = {}) noexcept;

    /// A request has come: once per request, whatever becomes of it.
    void deposit() noexcept;
    /// Takes a token for a retry that is about to be sent. False, and nothing changes, when there is none.
    [[nodiscard]] bool try_withdraw() noexcept;
    /// Takes effect at once: what is above a smaller capacity is lost. `initial` only counts at start.
    void configure(const RetryBudgetSettings& settings) noexcept;
    /// Tokens in the bucket, for operators.
    [[nodiscard]] double tokens() const noexcept;

private:
    std::atomic<std::int64_t> micro_tokens_;
    std::atomic<std::int64_t> deposit_;
    std::atomic<std::int64_t> capacity_;
};

}  // namespace llmproxy::policy
