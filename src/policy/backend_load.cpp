#include "llmproxy/policy/backend_load.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace llmproxy::policy {

BackendLoad::Pending& BackendLoad::Pending::operator=(Pending&& other) noexcept
{
    const Pending ended(std::exchange(load_, std::exchange(other.load_, nullptr)));
    return *this;
}

BackendLoad::Pending::~Pending()
{
    if (load_) {
        load_->pending_.fetch_sub(1, std::memory_order_relaxed);
    }
}

void BackendLoad::Average::add(double sample, core::SteadyTime now) noexcept
{
    if (!any) {
        *this = {sample, now, true};
        return;
    }
    // Many samples in one instant still count a little each, and a single one after a long silence is not all.
    constexpr double kLeast = 0.01;
    constexpr double kMost = 0.5;
    const auto passed = std::chrono::duration<double>(now - at);
    const auto share = 1.0 - std::exp(-std::max(passed.count(), 0.0) /
                                      std::chrono::duration<double>(kMemory).count());
    value += (sample - value) * std::clamp(share, kLeast, kMost);
    at = std::max(at, now);
}

BackendLoad::Pending BackendLoad::begin()
{
    Pending pending(shared_from_this());
    pending_.fetch_add(1, std::memory_order_relaxed);
    return pending;
}

void BackendLoad::succeeded(core::Duration time_to_first_byte) noexcept
{
    const auto now = clock_.now();
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) {
        return;  // one sample less is no loss, a request that waits for it would be
    }
    first_byte_.add(static_cast<double>(time_to_first_byte.count()), now);
    success_.add(1.0, now);
}

void BackendLoad::failed() noexcept
{
    const auto now = clock_.now();
    const std::lock_guard lock(mutex_);
    success_.add(0.0, now);
}

std::optional<core::Duration> BackendLoad::time_to_first_byte() const noexcept
{
    const std::lock_guard lock(mutex_);
    return first_byte_.any ? std::optional(core::Duration(std::llround(first_byte_.value)))
                           : std::nullopt;
}

double BackendLoad::success_share() const noexcept
{
    const std::lock_guard lock(mutex_);
    return success_.value;
}

}  // namespace llmproxy::policy
