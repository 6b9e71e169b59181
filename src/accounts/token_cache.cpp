#include "llmproxy/accounts/token_cache.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace llmproxy::accounts {
namespace {

constexpr std::size_t kMostParts = 64;
constexpr std::size_t kLeastOfAPart = 64;
constexpr std::size_t kUnknownShare = 8;  // one place for an unknown token to so many accounts

/// Digests are spread as evenly as any hash could.
struct HashOfHash {
    std::size_t operator()(const core::Sha256& hash) const noexcept
    {
        std::size_t value = 0;
        std::memcpy(&value, hash.data(), sizeof value);
        return value;
    }
};

}  // namespace

struct TokenCache::Part {
    struct Slot {
        core::Sha256 hash;
        AccountPtr account;
        bool used = false;  // since the hand passed
    };
    struct Unknown {
        core::Sha256 hash;
        core::SteadyTime until;
    };

    mutable std::mutex mutex;
    std::size_t capacity = 0;
    std::size_t unknown_capacity = 0;
    std::unordered_map<core::Sha256, std::size_t, HashOfHash> index;
    std::vector<Slot> slots;
    std::size_t hand = 0;
    std::unordered_map<core::Sha256, core::SteadyTime, HashOfHash> unknown;
    std::deque<Unknown> by_age;

    /// A slot for a newcomer: a new one, or that of an account which was not used since the hand passed it.
    std::size_t make_room()
    {
        if (slots.size() < capacity) {
            slots.emplace_back();
            return slots.size() - 1;
        }
        for (;;) {
            const auto at = hand;
            hand = (hand + 1) % slots.size();
            if (!std::exchange(slots[at].used, false)) {
                index.erase(slots[at].hash);
                return at;
            }
        }
    }

    void remove(std::size_t at)
    {
        index.erase(slots[at].hash);
        if (at + 1 != slots.size()) {
            slots[at] = std::move(slots.back());
            index[slots[at].hash] = at;
        }
        slots.pop_back();
        hand = slots.empty() ? 0 : hand % slots.size();
    }

    void forget_unknown_until(core::SteadyTime now, std::size_t most)
    {
        while (!by_age.empty() && (by_age.size() > most || by_age.front().until <= now)) {
            const auto found = unknown.find(by_age.front().hash);
            if (found != unknown.end() && found->second == by_age.front().until) {
                unknown.erase(found);
            }
            by_age.pop_front();
        }
    }
};

TokenCache::TokenCache(std::size_t size, core::Duration unknown_ttl) : unknown_ttl_(unknown_ttl)
{
    size = std::max<std::size_t>(size, 1);
    const auto parts = std::bit_floor(std::clamp<std::size_t>(size / kLeastOfAPart, 1, kMostParts));
    for (std::size_t i = 0; i < parts; ++i) {
        auto part = std::make_unique<Part>();
        part->capacity = size / parts + (i < size % parts ? 1 : 0);
        part->unknown_capacity = part->capacity / kUnknownShare + 1;
        parts_.push_back(std::move(part));
    }
}

TokenCache::~TokenCache() = default;

TokenCache::Part& TokenCache::part_of(const core::Sha256& hash) const noexcept
{
    return *parts_[hash.back() % parts_.size()];
}

TokenCache::Found TokenCache::find(const core::Sha256& hash, core::SteadyTime now)
{
    auto& part = part_of(hash);
    const std::lock_guard lock(part.mutex);
    if (const auto found = part.index.find(hash); found != part.index.end()) {
        auto& slot = part.slots[found->second];
        slot.used = true;
        return {slot.account, false};
    }
    const auto found = part.unknown.find(hash);
    return {nullptr, found != part.unknown.end() && now < found->second};
}

bool TokenCache::put(const core::Sha256& hash, AccountPtr account, Generation seen)
{
    auto& part = part_of(hash);
    AccountPtr old;  // let go of outside the lock
    const std::lock_guard lock(part.mutex);
    // Whoever changes something counts first and then looks into each part: it finds this, or this finds the count.
    if (generation_.load() != seen) {
        return false;
    }
    if (const auto found = part.index.find(hash); found != part.index.end()) {
        old = std::exchange(part.slots[found->second].account, std::move(account));
        return true;
    }
    const auto at = part.make_room();
    auto& slot = part.slots[at];
    old = std::exchange(slot.account, std::move(account));
    slot.hash = hash;
    slot.used = false;
    part.index.emplace(hash, at);
    return true;
}

bool TokenCache::put_unknown(const core::Sha256& hash, core::SteadyTime now, Generation seen)
{
    auto& part = part_of(hash);
    const std::lock_guard lock(part.mutex);
    if (generation_.load() != seen) {
        return false;
    }
    if (unknown_ttl_ > core::Duration::zero()) {
        const auto until = now + unknown_ttl_;
        part.forget_unknown_until(now, part.unknown_capacity - 1);
        part.unknown[hash] = until;
        part.by_age.push_back({hash, until});
    }
    return true;
}

Generation TokenCache::change(const std::function<bool(const Account&)>& about)
{
    const auto now = generation_.fetch_add(1) + 1;
    for (const auto& part : parts_) {
        std::vector<AccountPtr> gone;
        const std::lock_guard lock(part->mutex);
        part->unknown.clear();
        part->by_age.clear();
        for (std::size_t at = part->slots.size(); at > 0; --at) {
            if (about(*part->slots[at - 1].account)) {
                gone.push_back(part->slots[at - 1].account);
                part->remove(at - 1);
            }
        }
    }
    return now;
}

std::size_t TokenCache::size() const
{
    std::size_t sum = 0;
    for (const auto& part : parts_) {
        const std::lock_guard lock(part->mutex);
        sum += part->slots.size();
    }
    return sum;
}

std::size_t TokenCache::unknown() const
{
    std::size_t sum = 0;
    for (const auto& part : parts_) {
        const std::lock_guard lock(part->mutex);
        sum += part->unknown.size();
    }
    return sum;
}

}  // namespace llmproxy::accounts
