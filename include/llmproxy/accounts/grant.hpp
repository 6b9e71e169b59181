#pragma once

#include "llmproxy/accounts/account.hpp"
#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/estimate.hpp"
#include "llmproxy/accounts/rate_limiter.hpp"
#include "llmproxy/storage/usage.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llmproxy::accounts {

/// One attempt of a request that may have cost something, as told by whoever made it.
struct Attempt {
    /// Account, request, number and cost are filled in by Accounts::settle, the route if it is empty.
    storage::UsageRow row;
    std::string model;     ///< as the backend was asked for it
    std::string provider;  ///< the backend's provider, by its word
};

/// What one request or tunnel was granted: places under the limits, and once `Accounts::reserve` was called, its share of
/// the budgets. Made by Accounts::admit.
///
/// It ends in one of three ways. Accounts::settle: what was used counts. `cancel`, or destroyed before `begin_attempt`:
/// nothing was sent, what was reserved is given back. Destroyed after `begin_attempt`: nobody knows what it cost, so
/// what was reserved counts, as a usage row with outcome `indeterminate`. The places are given back when it is destroyed.
/// Thread safety: none; lives with its request, on the session's strand. Lifetime: ends before Accounts. Move-only.
class Grant {
public:
    Grant() noexcept;
    Grant(Grant&& other) noexcept;
    Grant& operator=(Grant&& other) noexcept;
    ~Grant();

    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
    /// For the rest there must be a grant.
    [[nodiscard]] const Account& account() const noexcept;
    /// The key of the request's usage rows.
    [[nodiscard]] const core::Uuid& request() const noexcept;

    /// An attempt is about to be sent to a place: from here on the request may cost something.
    void begin_attempt(const PricedPlace& place);

    /// Whether what a reply has used so far is more than was reserved, where `budget.enforce` is strict and there is a
    /// budget: then it has to be cut off.
    [[nodiscard]] bool exhausted_by(const storage::TokenCounts& so_far) const noexcept;

    /// Counts bytes that passed, either way, at once instead of when the request ends.
    void charge_bytes(std::uint64_t bytes) noexcept;

    /// Appends `x-ratelimit-*` lines, as the limits stand now; nothing where there are none.
    void append_ratelimit_lines(std::string& out) const;

    /// What the request used, once it is settled.
    [[nodiscard]] Amount used() const noexcept;

    /// Gives back what was reserved: nothing was sent.
    void cancel() noexcept;

private:
    friend class Accounts;
    struct State;
    explicit Grant(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace llmproxy::accounts
