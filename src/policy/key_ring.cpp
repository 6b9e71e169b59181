#include "llmproxy/policy/key_ring.hpp"

#include <algorithm>
#include <limits>

namespace llmproxy::policy {

KeyRing::KeyRing(std::size_t keys, const core::Clock& clock)
    : clock_(clock), size_(keys), rests_until_(new std::atomic<std::int64_t>[keys] {})
{
}

std::int64_t KeyRing::now() const noexcept
{
    return clock_.now().time_since_epoch().count();
}

std::size_t KeyRing::next(std::optional<std::size_t> but_not) noexcept
{
    if (size_ <= 1) {
        return 0;
    }
    const auto time = now();
    const auto until = [this](std::size_t i) {
        return rests_until_[i].load(std::memory_order_relaxed);
    };
    std::size_t ready = 0;
    std::size_t soonest = but_not == 0U ? 1 : 0;
    for (std::size_t i = 0; i < size_; ++i) {
        if (i != but_not) {
            ready += until(i) <= time ? 1 : 0;
            soonest = until(i) < until(soonest) ? i : soonest;
        }
    }
    if (ready == 0) {
        return soonest;
    }
    // The n-th that is ready, so that the neighbour of one that rests does not get its share on top.
    auto left = turn_.fetch_add(1, std::memory_order_relaxed) % ready;
    for (std::size_t i = 0; i < size_; ++i) {
        if (i != but_not && until(i) <= time && left-- == 0) {
            return i;
        }
    }
    return soonest;  // another thread has put one to rest meanwhile
}

bool KeyRing::has_other(std::size_t index) const noexcept
{
    for (std::size_t i = 0; i < size_; ++i) {
        if (i != index && !is_cooling(i)) {
            return true;
        }
    }
    return false;
}

void KeyRing::cool(std::size_t index, core::Duration rest) noexcept
{
    if (index >= size_) {
        return;
    }
    const auto time = now();
    const auto most = std::numeric_limits<std::int64_t>::max() - time - 1;
    const auto until = time + std::clamp<std::int64_t>(rest.count(), 0, most);
    auto& target = rests_until_[index];
    auto known = target.load(std::memory_order_relaxed);
    while (known < until &&
           !target.compare_exchange_weak(known, until, std::memory_order_relaxed)) {}
}

void KeyRing::warm(std::size_t index) noexcept
{
    // Read first: this is called for every reply, and next to no key rests.
    if (index < size_ && rests_until_[index].load(std::memory_order_relaxed) != 0) {
        rests_until_[index].store(0, std::memory_order_relaxed);
    }
}

bool KeyRing::is_cooling(std::size_t index) const noexcept
{
    return index < size_ && rests_until_[index].load(std::memory_order_relaxed) > now();
}

core::Duration KeyRing::shortest_rest() const noexcept
{
    const auto time = now();
    auto shortest = std::numeric_limits<std::int64_t>::max();
    for (std::size_t i = 0; i < size_; ++i) {
        shortest = std::min(shortest, rests_until_[i].load(std::memory_order_relaxed) - time);
    }
    return core::Duration(size_ == 0 ? 0 : std::max<std::int64_t>(shortest, 0));
}

}  // namespace llmproxy::policy
