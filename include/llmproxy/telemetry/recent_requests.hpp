#pragma once

#include "llmproxy/telemetry/access_record.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

/// The last requests that were finished, for whoever asks what became of one.
///
/// A ring: each record gets the next number, counted from 1, and takes the place of the one that is
/// `capacity` older. Texts are cut to what a line of the access log shows of them, so that memory is
/// bounded: about 0.9 KiB for each place and what its texts need beyond that, 12 KiB at the very
/// most.
///
/// Thread safety: every member may be called concurrently. Each place has a lock of its own, so
/// `keep` meets a reader at one place or nobody.
class RecentRequests {
public:
    struct Entry {
        std::uint64_t number = 0;
        AccessRecord record;
    };
    using Wanted = std::function<bool(const AccessRecord&)>;

    /// \param capacity  0: nothing is kept.
    explicit RecentRequests(std::size_t capacity);
    RecentRequests(const RecentRequests&) = delete;
    RecentRequests& operator=(const RecentRequests&) = delete;

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

    /// Takes a finished request's record; what is left of it says nothing.
    void keep(AccessRecord&& record);

    /// Of those with a number below `before` that are wanted the newest, newest first, at most `most`.
    [[nodiscard]] std::vector<Entry> newest(std::uint64_t before, std::size_t most,
                                            const Wanted& wanted) const;
    /// The newest one with that id.
    [[nodiscard]] std::optional<Entry> find(std::string_view request_id) const;

    /// What `since` found.
    struct Batch {
        std::vector<Entry> entries;  ///< oldest first
        std::uint64_t next = 0;      ///< where to go on
        std::uint64_t missed =
            0;  ///< between the number asked for and the first that is still there
    };
    /// Of those from `number` on that are wanted the oldest, at most `most`.
    [[nodiscard]] Batch since(std::uint64_t number, std::size_t most, const Wanted& wanted) const;

    /// The number that the next record gets.
    [[nodiscard]] std::uint64_t next() const noexcept
    {
        return next_.load(std::memory_order_acquire);
    }

private:
    struct alignas(64) Place {
        mutable std::mutex mutex;
        Entry entry;
    };
    [[nodiscard]] const Place& place_of(std::uint64_t number) const noexcept
    {
        return places_[number % capacity_];
    }
    [[nodiscard]] std::uint64_t oldest(std::uint64_t next) const noexcept
    {
        return next > capacity_ ? next - capacity_ : 1;
    }

    const std::size_t capacity_;
    std::vector<Place> places_;
    alignas(64) std::atomic<std::uint64_t> next_{1};
};

}  // namespace llmproxy::telemetry
