#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/storage/ledger.hpp"
#include "llmproxy/storage/rows.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace llmproxy::accounts {

/// Money and tokens: what a request is reserved, or what it used.
struct Amount {
    core::NanoUsd cost;
    std::int64_t tokens = 0;

    friend constexpr bool operator==(Amount, Amount) noexcept = default;
};

/// Spending has reached one of a budget's soft percents.
struct SoftLimitReached {
    storage::Subject subject;
    storage::Period period;
    std::uint8_t percent = 0;
    bool money = true;       ///< else tokens
    std::int64_t spent = 0;  ///< nano-USD or tokens
    std::int64_t limit = 0;
};

/// What one project or token may spend per day, week, month and in all, and what it has spent: the authority on it while
/// the process runs. Of everything under way the upper bound is reserved, so that together it cannot pass a limit.
///
/// A request counts in the periods that hold its own time, however late it ends. Of each kind the latest period and the
/// one before are kept; what ends in an older one changes nothing here any more (the store's ledger has it all the same).
/// Thread safety: every member may be called concurrently; a short lock of its own, never held across I/O.
class Budget {
public:
    /// A reservation, as it has to be shown again.
    struct Hold {
        Amount amount;
        std::array<core::SystemTime, storage::kPeriodKinds.size()> starts{};
    };

    explicit Budget(storage::Subject subject) noexcept : subject_(subject) {}

    /// Replaces the limits; takes effect at once, also below what is spent.
    /// \param soft_percent  for rows that name no soft percents; 0: none.
    void configure(std::span<const storage::BudgetRow> rows, std::uint32_t soft_percent);

    /// What the store knows of the periods that hold `time`. For a new object, before its first reservation.
    void load(std::span<const storage::LedgerRow> rows, core::SystemTime time);

    /// Whether there is a limit of this kind at all. One atomic load.
    [[nodiscard]] bool bounds_money() const noexcept { return bounds_money_.load(); }
    [[nodiscard]] bool bounds_tokens() const noexcept { return bounds_tokens_.load(); }

    /// Reserves `most` in the periods that hold `time`, in all or in none.
    /// Fails with Errc::insufficient_quota when one has not that much left.
    [[nodiscard]] core::Result<Hold> reserve(Amount most, core::SystemTime time);

    /// Whether `reserve` would succeed. Fails as it does, and takes nothing.
    [[nodiscard]] core::Result<void> would_reserve(Amount most, core::SystemTime time);

    /// Turns a reservation into what was used, which may be less or more.
    /// \param reached  gets the soft limits that were reached by it.
    void settle(const Hold& hold, Amount used, std::vector<SoftLimitReached>& reached);

    /// Gives a reservation back unused.
    void release(const Hold& hold) noexcept;

    /// One limit and where it stands, for those who show it.
    struct State {
        storage::Period period;
        std::optional<core::NanoUsd> cost_limit;
        std::optional<std::int64_t> token_limit;
        Amount spent;
        Amount reserved;
    };
    /// All kinds of periods at `time`, in the order of kPeriodKinds.
    [[nodiscard]] std::vector<State> states(core::SystemTime time);

private:
    struct Window {
        core::SystemTime start = core::SystemTime::min();
        Amount spent;
        Amount reserved;
    };
    struct Kind {
        Window latest;
        Window before;
    };
    struct Limit {
        storage::BudgetRow row;
        std::vector<std::uint8_t> soft_percents;
    };
    Window& enter(std::size_t kind, core::SystemTime time) noexcept;
    Window* find(std::size_t kind, core::SystemTime start) noexcept;
    using Windows = std::array<Window*, storage::kPeriodKinds.size()>;
    /// The windows that hold `time`, if each has `most` left. Under the lock.
    [[nodiscard]] core::Result<Windows> windows_with(Amount most, core::SystemTime time);
    [[nodiscard]] core::Failure spent_out(const Limit& limit, bool money) const;
    void note_soft(const Limit& limit, Amount before, const Window& window,
                   std::vector<SoftLimitReached>& reached) const;

    const storage::Subject subject_;
    std::atomic<bool> bounds_money_{false};
    std::atomic<bool> bounds_tokens_{false};
    std::mutex mutex_;
    std::array<Kind, storage::kPeriodKinds.size()> kinds_;
    std::vector<Limit> limits_;
};

}  // namespace llmproxy::accounts
