#pragma once

#include "llmproxy/accounts/account.hpp"
#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/sha256.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace llmproxy::accounts {

/// The accounts of tokens that were used lately, by the hash of the token, and hashes of which the store knew nothing.
///
/// Bounded: the account that was not asked for in the longest time goes, nearly (CLOCK). Unknown tokens have a place of
/// their own, so that guesses drive no account out, and are forgotten after a short time.
/// What was read from the store before a change is never put in after it: readers note the generation before they read.
/// Thread safety: every member may be called concurrently; the table is divided, each part has a short lock.
class TokenCache {
public:
    /// \param size  accounts; at least 1. \param unknown_ttl  of hashes without an account; zero: not kept.
    TokenCache(std::size_t size, core::Duration unknown_ttl);
    TokenCache(const TokenCache&) = delete;
    TokenCache& operator=(const TokenCache&) = delete;
    ~TokenCache();

    struct Found {
        AccountPtr account;    ///< null: see `unknown`
        bool unknown = false;  ///< there is no such token; else, without an account, nobody knows
    };
    [[nodiscard]] Found find(const core::Sha256& hash, core::SteadyTime now);

    [[nodiscard]] Generation generation() const noexcept { return generation_.load(); }

    /// Keeps what was read since `seen` was the generation; false, and nothing is kept, if it is not any more.
    bool put(const core::Sha256& hash, AccountPtr account, Generation seen);
    bool put_unknown(const core::Sha256& hash, core::SteadyTime now, Generation seen);

    /// Something has changed in the store: begins a new generation, forgets the accounts that `about` is true of, and
    /// all unknown tokens. Looks at every account.
    /// Returns the new generation.
    Generation change(const std::function<bool(const Account&)>& about);

    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] std::size_t unknown() const;

private:
    struct Part;
    Part& part_of(const core::Sha256& hash) const noexcept;

    const core::Duration unknown_ttl_;
    std::atomic<Generation> generation_{1};
    std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace llmproxy::accounts
