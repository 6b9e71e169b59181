#pragma once

#include "llmproxy/core/clock.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace llmproxy::policy {

/// How much of something may pass per minute, by the generic cell rate algorithm: a full minute's worth at once, then
/// as fast as it comes back.
///
/// Any run of time of length t lets at most `limit * (1 + t / minute)` pass. What was taken before its true size was
/// known is corrected afterwards by `give_back` and `charge`. State is one moment: when the limit is whole again.
///
/// Thread safety: every member may be called concurrently; no locks.
class Gcra {
public:
    static constexpr core::Duration kPeriod = std::chrono::minutes(1);
    static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
    /// The wait of what is more than a whole minute's worth.
    static constexpr core::Duration kNever = core::Duration::max();

    /// \param limit  per minute; kNoLimit: everything passes; 0: nothing does.
    explicit Gcra(std::uint64_t limit = kNoLimit) noexcept : limit_(limit) {}

    /// Takes effect at once; what is used up stays the same share of the limit.
    void set_limit(std::uint64_t limit) noexcept { limit_.store(limit, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t limit() const noexcept
    {
        return limit_.load(std::memory_order_relaxed);
    }

    struct Decision {
        bool admitted = false;
        core::Duration wait{0};  ///< if not: until the same could pass, or kNever
    };

    /// Takes `amount`, or nothing. Taking 0 asks whether more was charged than the limit allows.
    [[nodiscard]] Decision take(std::uint64_t amount, core::SteadyTime now) noexcept;

    /// Takes `amount` even if it is not there: later takers wait for it.
    void charge(std::uint64_t amount, core::SteadyTime now) noexcept;

    /// Gives back `amount` of what was taken at `taken`. What has come back by itself meanwhile is not given again (but for what comes
    /// back in a tenth of a second).
    void give_back(std::uint64_t amount, core::SteadyTime taken, core::SteadyTime now) noexcept;

    struct Figures {
        std::uint64_t limit = kNoLimit;
        std::uint64_t remaining = kNoLimit;
        core::Duration reset{0};  ///< until the limit is whole again
    };
    [[nodiscard]] Figures figures(core::SteadyTime now) const noexcept;

private:
    using Nanoseconds = std::int64_t;
    static Nanoseconds worth(std::uint64_t amount, std::uint64_t limit) noexcept;

    std::atomic<std::uint64_t> limit_;
    std::atomic<Nanoseconds> whole_at_{0};    // on the steady clock
    std::atomic<Nanoseconds> seen_whole_{0};  // when it was last found so
};

}  // namespace llmproxy::policy
