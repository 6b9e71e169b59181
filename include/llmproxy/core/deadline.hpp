#pragma once

#include "llmproxy/core/clock.hpp"

#include <algorithm>

namespace llmproxy::core {

/// A point on the steady clock after which nobody waits any more.
/// Value type; a default-made deadline never passes.
class Deadline {
public:
    constexpr Deadline() noexcept : time_(SteadyTime::max()) {}
    constexpr explicit Deadline(SteadyTime time) noexcept : time_(time) {}

    /// The deadline `limit` from `now`; a limit of zero or less means none.
    [[nodiscard]] static Deadline after(SteadyTime now, Duration limit) noexcept
    {
        if (limit <= Duration::zero() || limit >= SteadyTime::max() - now) {
            return Deadline();
        }
        return Deadline(now + std::chrono::duration_cast<SteadyTime::duration>(limit));
    }

    [[nodiscard]] constexpr SteadyTime time() const noexcept { return time_; }
    [[nodiscard]] constexpr bool never() const noexcept { return time_ == SteadyTime::max(); }
    [[nodiscard]] constexpr bool passed(SteadyTime now) const noexcept { return now >= time_; }

    /// The earlier of two.
    [[nodiscard]] constexpr Deadline min(Deadline other) const noexcept
    {
        return Deadline(std::min(time_, other.time_));
    }
    friend constexpr bool operator==(Deadline, Deadline) noexcept = default;

private:
    SteadyTime time_;
};

}  // namespace llmproxy::core
