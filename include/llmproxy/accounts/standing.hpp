#pragma once

#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/rate_limiter.hpp"
#include "llmproxy/storage/rows.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

namespace llmproxy::accounts {

/// Counts what has changed in the store since the start, as far as accounts depend on it.
using Generation = std::uint64_t;

/// Where a project or token stands while the process runs: what it has spent, how much of its limits is used, since
/// when it is not valid. One object per subject, shared by every account that is loaded of it.
///
/// Thread safety: every member may be called concurrently.
class Standing {
public:
    explicit Standing(storage::Subject subject) noexcept : budget(subject), subject_(subject) {}

    Budget budget;
    RateLimiter limits;

    [[nodiscard]] storage::Subject subject() const noexcept { return subject_; }

    /// The project's name, that of the token's own if it is a token; empty until it is told.
    [[nodiscard]] std::string project_name() const
    {
        const std::lock_guard lock(configuring_);
        return project_name_;
    }
    void set_project_name(const std::string& name)
    {
        const std::lock_guard lock(configuring_);
        project_name_ = name;
    }

    /// Follows the subject's rows; those of an older version than before change nothing.
    void configure(storage::Version version, std::span<const storage::LimitRow> limit_rows,
                   std::span<const storage::BudgetRow> budget_rows, std::uint32_t soft_percent)
    {
        const std::lock_guard lock(configuring_);
        if (version >= version_) {
            version_ = version;
            limits.configure(limit_rows);
            budget.configure(budget_rows, soft_percent);
        }
    }

    /// What was loaded before `at` is not valid any more.
    void revoke(Generation at) noexcept { revoked_at_.store(at); }
    [[nodiscard]] bool revoked_since(Generation loaded) const noexcept
    {
        return revoked_at_.load() > loaded;
    }

    /// Whether the store may lack some of what was spent, so that it cannot be asked.
    void set_ahead_of_store(bool ahead) noexcept { ahead_of_store_.store(ahead); }
    [[nodiscard]] bool ahead_of_store() const noexcept { return ahead_of_store_.load(); }

private:
    const storage::Subject subject_;
    mutable std::mutex configuring_;
    std::string project_name_;
    storage::Version version_ = 0;
    std::atomic<Generation> revoked_at_{0};
    std::atomic<bool> ahead_of_store_{false};
};

}  // namespace llmproxy::accounts
