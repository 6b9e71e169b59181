#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

/// A hash of all of `text`, quick for the short names that labels are.
[[nodiscard]] inline std::size_t text_hash(std::string_view text) noexcept
{
    constexpr std::size_t kWord = sizeof(std::uint64_t);
    std::uint64_t mixed = text.size();
    const auto mix = [&mixed](const char* at) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, sizeof word);
        mixed = (mixed ^ word) * 0x9e3779b97f4a7c15U;
        mixed ^= mixed >> 32;
    };
    if (text.size() < kWord) {
        for (const char c : text) {
            mixed = mixed << 8 ^ static_cast<unsigned char>(c);
        }
        return (mixed * 0x9e3779b97f4a7c15U) >> 16;
    }
    for (std::size_t at = 0; at + kWord < text.size(); at += kWord) {
        mix(text.data() + at);
    }
    mix(text.data() + text.size() - kWord);  // some of it again
    return mixed;
}

/// What tells one series from another. Unused parts stay empty.
struct SeriesKey {
    std::string_view first;
    std::string_view second{};
    std::string_view third{};
    std::uint16_t number = 0;

    friend bool operator==(const SeriesKey&, const SeriesKey&) noexcept = default;

    [[nodiscard]] std::size_t hash() const noexcept
    {
        std::size_t mixed = text_hash(first);
        for (const auto part :
             {text_hash(second), text_hash(third), static_cast<std::size_t>(number)}) {
            mixed = (mixed ^ part) * 0x9e3779b97f4a7c15U;
            mixed ^= mixed >> 32;
        }
        return mixed;
    }
};

/// Remembers the metric handles of each label combination: found without a lock, added under one,
/// never removed. Half of `Slots` combinations at most; later ones share the handles of the key
/// `other`.
/// Thread safety: `find` may be called concurrently.
template <typename Handles, std::size_t Slots>
class SeriesTable {
    static_assert((Slots & (Slots - 1)) == 0, "a power of two");

public:
    /// \param make  Handles(const SeriesKey&), called once per combination, under the table's lock.
    template <typename Make>
    const Handles& find(const SeriesKey& key, const Make& make)
    {
        const auto hash = key.hash();
        if (const auto* entry = look_up(key, hash)) {
            return entry->handles;
        }
        const std::lock_guard lock(mutex_);
        if (const auto* entry = look_up(key, hash)) {
            return entry->handles;
        }
        if (entries_.size() >= Slots / 2) {
            static constexpr SeriesKey kOther{"other", "other", "other", 0};
            if (!other_) {
                other_ = std::make_unique<Entry>(kOther, make(kOther));
            }
            return other_->handles;
        }
        entries_.push_back(std::make_unique<Entry>(key, make(key)));
        auto slot = hash;
        while (slots_[slot % Slots].load(std::memory_order_relaxed) != nullptr) {
            ++slot;
        }
        slots_[slot % Slots].store(entries_.back().get(), std::memory_order_release);
        return entries_.back()->handles;
    }

private:
    struct Entry {
        Entry(const SeriesKey& from, Handles made)
            : first(from.first), second(from.second), third(from.third), number(from.number),
              handles(made)
        {
        }
        [[nodiscard]] SeriesKey key() const noexcept { return {first, second, third, number}; }

        std::string first;
        std::string second;
        std::string third;
        std::uint16_t number;
        Handles handles;
    };

    const Entry* look_up(const SeriesKey& key, std::size_t slot) const noexcept
    {
        for (;; ++slot) {
            const auto* entry = slots_[slot % Slots].load(std::memory_order_acquire);
            if (entry == nullptr || entry->key() == key) {
                return entry;
            }
        }
    }

    std::array<std::atomic<const Entry*>, Slots> slots_{};
    std::mutex mutex_;
    std::vector<std::unique_ptr<Entry>> entries_;
    std::unique_ptr<Entry> other_;
};

}  // namespace llmproxy::telemetry
