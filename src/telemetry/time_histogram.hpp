#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/telemetry/metrics.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace llmproxy::telemetry {

/// Numbers a time's bucket, and tells a bucket's middle: one for each microsecond below kSteps,
/// above that kSteps of equal width to each power of two (log-linear, as HdrHistogram's). A
/// bucket's middle is at most 1 / (2 * kSteps) = 1.6 %, or 0.5 us, off every time in it. Times past
/// the last bucket count in it.
struct TimeBuckets {
    static constexpr std::size_t kSteps = 32;
    static constexpr std::size_t kStepBits = 5;
    static constexpr std::size_t kOctaves = 28;  ///< above the first part: up to 2^33 us, 2.4 hours
    static constexpr std::size_t kCount = kSteps * (kOctaves + 1);
    static constexpr std::uint64_t kMost = (std::uint64_t{1} << (kOctaves + kStepBits)) - 1;

    [[nodiscard]] static constexpr std::size_t of(core::Duration time) noexcept
    {
        const auto count = time.count() <= 0 ? 0 : static_cast<std::uint64_t>(time.count()) / 1000;
        const auto us = count < kMost ? count : kMost;
        if (us < kSteps) {
            return us;
        }
        const auto octave = static_cast<std::size_t>(std::bit_width(us)) - kStepBits - 1;
        return kSteps * octave + static_cast<std::size_t>(us >> octave);
    }

    [[nodiscard]] static constexpr core::Duration middle(std::size_t bucket) noexcept
    {
        const auto octave = bucket < kSteps ? 0 : bucket / kSteps - 1;
        const auto low = static_cast<std::int64_t>(bucket - kSteps * octave) << octave;
        const auto width = std::int64_t{1} << octave;
        return std::chrono::nanoseconds((2 * low + width) * 500);
    }
};

/// How often times came in each of TimeBuckets. Can be added up and told percentiles of.
class TimeCounts {
public:
    void add(std::size_t bucket, std::uint64_t count) noexcept
    {
        counts_[bucket] += count;
        total_ += count;
    }
    void add_sum(std::uint64_t nanoseconds) noexcept { nanoseconds_ += nanoseconds; }

    [[nodiscard]] TimeSummary summary() const noexcept
    {
        TimeSummary made;
        made.count = total_;
        if (total_ != 0) {
            made.mean = core::Duration(static_cast<std::int64_t>(nanoseconds_ / total_));
            made.p50 = at_share(1, 2);
            made.p95 = at_share(19, 20);
            made.p99 = at_share(99, 100);
            made.most = at_share(1, 1);
        }
        return made;
    }

private:
    /// The time that `numerator / denominator` of all are not above.
    [[nodiscard]] core::Duration at_share(std::uint64_t numerator,
                                          std::uint64_t denominator) const noexcept
    {
        const auto rank = (total_ * numerator + denominator - 1) / denominator;
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen >= rank) {
                return TimeBuckets::middle(i);
            }
        }
        return TimeBuckets::middle(counts_.size() - 1);
    }

    std::array<std::uint64_t, TimeBuckets::kCount> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t nanoseconds_ = 0;
};

/// Counts times without a lock: each thread has cells of its own, which a reader adds up.
///
/// Memory: 128 bytes, and for each thread 320 and 256 more for each power of two that its times
/// fall into: about 3 KiB for times from 1 ms to 1 s.
/// Thread safety: every member may be called concurrently; more than kShards threads share cells.
class TimeHistogram {
public:
    TimeHistogram() = default;
    TimeHistogram(const TimeHistogram&) = delete;
    TimeHistogram& operator=(const TimeHistogram&) = delete;
    ~TimeHistogram();

    void record(core::Duration time);

    void add_to(TimeCounts& counts) const noexcept;

private:
    static constexpr std::size_t kShards = 16;
    static constexpr std::size_t kBlocks = TimeBuckets::kOctaves + 1;
    using Block = std::array<std::atomic<std::uint64_t>, TimeBuckets::kSteps>;
    struct alignas(64) Shard {
        std::atomic<std::uint64_t> nanoseconds{0};
        std::array<std::atomic<Block*>, kBlocks> blocks{};
    };

    std::array<std::atomic<Shard*>, kShards> shards_{};
};

}  // namespace llmproxy::telemetry
