#include "llmproxy/policy/gcra.hpp"

#include "llmproxy/core/wide.hpp"

#include <algorithm>

namespace llmproxy::policy {
namespace {

constexpr std::int64_t kPeriodCount = Gcra::kPeriod.count();
// Two threads that read the clock one after the other may take in the other order.
constexpr std::int64_t kClockSlack = 100'000'000;
// Debts are bounded, so that sums of them stay within the type.
constexpr std::int64_t kLargestDebt = 60 * 24 * kPeriodCount;

std::int64_t count_of(core::SteadyTime time) noexcept
{
    return std::chrono::duration_cast<core::Duration>(time.time_since_epoch()).count();
}

}  // namespace

/// How long `amount` takes to come back. Rounded down, so that a minute's worth in whatever parts fits a minute; what
/// is lost by that is below a nanosecond a time.
Gcra::Nanoseconds Gcra::worth(std::uint64_t amount, std::uint64_t limit) noexcept
{
    if (limit == 0) {
        return amount == 0 ? 0 : kLargestDebt;
    }
    const auto nanoseconds = core::scale(amount, kPeriodCount, limit);
    return static_cast<Nanoseconds>(std::min<std::uint64_t>(nanoseconds, kLargestDebt));
}

Gcra::Decision Gcra::take(std::uint64_t amount, core::SteadyTime now) noexcept
{
    const auto limit = this->limit();
    if (limit == kNoLimit) {
        return {true, core::Duration::zero()};
    }
    if (amount > limit) {
        return {false, kNever};
    }
    const auto cost = worth(amount, limit);
    const auto at = count_of(now);
    auto whole = whole_at_.load(std::memory_order_relaxed);
    Nanoseconds next = 0;
    do {
        next = std::max(whole, at) + cost;
        if (next - at > kPeriodCount) {
            return {false, core::Duration(next - at - kPeriodCount)};
        }
    } while (!whole_at_.compare_exchange_weak(whole, next, std::memory_order_relaxed));
    if (whole <= at) {
        seen_whole_.store(at, std::memory_order_relaxed);
    }
    return {true, core::Duration::zero()};
}

void Gcra::charge(std::uint64_t amount, core::SteadyTime now) noexcept
{
    const auto limit = this->limit();
    if (limit == kNoLimit || amount == 0) {
        return;
    }
    const auto at = count_of(now);
    auto whole = whole_at_.load(std::memory_order_relaxed);
    Nanoseconds next = 0;
    do {
        next = std::min(std::max(whole, at) + worth(amount, limit), at + kLargestDebt);
        next = std::max(next, whole);
    } while (!whole_at_.compare_exchange_weak(whole, next, std::memory_order_relaxed));
    if (whole <= at) {
        seen_whole_.store(at, std::memory_order_relaxed);
    }
}

void Gcra::give_back(std::uint64_t amount, core::SteadyTime taken, core::SteadyTime now) noexcept
{
    const auto limit = this->limit();
    if (limit == kNoLimit || limit == 0 || amount == 0 ||
        seen_whole_.load(std::memory_order_relaxed) > count_of(taken) + kClockSlack) {
        return;
    }
    const auto at = count_of(now);
    auto whole = whole_at_.load(std::memory_order_relaxed);
    do {
        if (whole <= at) {
            return;
        }
    } while (!whole_at_.compare_exchange_weak(whole, whole - worth(amount, limit),
                                              std::memory_order_relaxed));
}

Gcra::Figures Gcra::figures(core::SteadyTime now) const noexcept
{
    Figures figures;
    figures.limit = limit();
    if (figures.limit == kNoLimit) {
        return figures;
    }
    const auto used =
        std::max<Nanoseconds>(whole_at_.load(std::memory_order_relaxed) - count_of(now), 0);
    figures.reset = core::Duration(used);
    // Rounded down: what is told to remain can be taken.
    const auto left = std::max<Nanoseconds>(kPeriodCount - used, 0);
    figures.remaining = core::scale(static_cast<std::uint64_t>(left), figures.limit, kPeriodCount);
    return figures;
}

}  // namespace llmproxy::policy
