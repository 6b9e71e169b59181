#pragma once

#include "flights.hpp"
#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/accounts/live_grants.hpp"
#include "llmproxy/accounts/price_table.hpp"
#include "llmproxy/accounts/token_cache.hpp"
#include "standings.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace llmproxy::accounts {

/// For SDKs: it would only fail again.
inline constexpr std::string_view kNoRetry = "x-should-retry: false\r\n";

struct HashOfToken {
    std::size_t operator()(const core::Sha256& hash) const noexcept
    {
        return static_cast<std::size_t>(hash[0]) << 24U | static_cast<std::size_t>(hash[1]) << 16U |
               static_cast<std::size_t>(hash[2]) << 8U | hash[3];
    }
};

/// What one configuration means. Immutable; a request keeps the one it began with.
struct Accounts::Rules {
    BudgetSettings budget;
    PriceTable prices;
    std::unordered_map<core::Sha256, AccountPtr, HashOfToken> static_accounts;
};

struct Accounts::Parts {
    Parts(Options&& options, std::shared_ptr<const core::Clock> the_clock)
        : store(std::move(options.store)), clock(std::move(the_clock)),
          on_soft_limit(std::move(options.on_soft_limit)),
          cache(options.settings.token_cache.size, options.settings.token_cache.unknown_ttl),
          // Each account in the cache has one, and each project; those of evicted ones stay for a while.
          standings(std::size_t{2} * options.settings.token_cache.size)
    {
    }

    const std::shared_ptr<storage::Store> store;
    const std::shared_ptr<const core::Clock> clock;
    const std::function<void(const SoftLimitReached&)> on_soft_limit;
    TokenCache cache;
    Standings standings;
    Flights flights;
    LiveGrants live;
    mutable std::mutex mutex;
    std::shared_ptr<const Rules> rules;
};

struct Grant::State {
    State(Accounts& the_owner, AccountPtr the_account, std::shared_ptr<const Accounts::Rules> by)
        : owner(the_owner), account(std::move(the_account)), rules(std::move(by))
    {
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State();

    /// Gives back what is reserved.
    void release() noexcept;

    Accounts& owner;
    AccountPtr account;
    std::shared_ptr<const Accounts::Rules> rules;
    std::string_view route;
    core::Uuid request;
    std::string request_id;

    RateLimiter::Pass token_pass;
    RateLimiter::Pass project_pass;
    std::optional<Budget::Hold> token_hold;
    std::optional<Budget::Hold> project_hold;
    Estimate estimate;
    Amount used;  // once settled
    storage::Reservation reservation;
    bool open = false;  // something is reserved that was not settled
    bool sent = false;
    const ModelPrice* price = nullptr;  // where the attempt under way goes
    std::uint64_t bytes_charged = 0;
    LiveGrants::Registration registration;
};

}  // namespace llmproxy::accounts
