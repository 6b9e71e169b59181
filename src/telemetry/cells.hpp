#pragma once

#include "thread_shard.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace llmproxy::telemetry {

/// Sums that threads add to without meeting: each has its own copy of every sum, and a reader adds the copies up.
///
/// Thread safety: every member may be called concurrently. `add` takes no lock (the first use of a block by a thread
/// allocates it). More than `kShards` threads share copies, which stays right and costs them some speed.
/// Limits: `kBlocks * kBlock` sums; `reserve` past that gives `kNone`, to which adding does nothing.
class Cells {
public:
    using Index = std::uint32_t;
    static constexpr Index kNone = ~Index{0};

    Cells() = default;
    Cells(const Cells&) = delete;
    Cells& operator=(const Cells&) = delete;
    ~Cells()
    {
        for (auto& shard : shards_) {
            for (auto& block : shard) {
                delete block.load(std::memory_order_relaxed);
            }
        }
    }

    /// The first of `count` consecutive sums, all 0; count <= kBlock.
    [[nodiscard]] Index reserve(std::size_t count)
    {
        const std::lock_guard lock(mutex_);
        if (next_ % kBlock + count > kBlock) {
            next_ += kBlock - next_ % kBlock;
        }
        if (next_ + count > kBlock * kBlocks) {
            return kNone;
        }
        const auto first = next_;
        next_ += count;
        return static_cast<Index>(first);
    }

    /// Sums are modulo 2^64: adding `-1` (as unsigned) takes one away.
    void add(Index index, std::uint64_t by = 1)
    {
        if (index == kNone) {
            return;
        }
        block_of(index)[index % kBlock].fetch_add(by, std::memory_order_relaxed);
    }

    /// Adds one to a sum and `by` to another of the same reservation, which lies in one block.
    void add(Index one, Index other, std::uint64_t by)
    {
        auto& block = block_of(one);
        block[one % kBlock].fetch_add(1, std::memory_order_relaxed);
        block[other % kBlock].fetch_add(by, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint64_t sum(Index index) const noexcept
    {
        std::uint64_t total = 0;
        if (index == kNone) {
            return total;
        }
        for (const auto& shard : shards_) {
            if (const auto* block = shard[index / kBlock].load(std::memory_order_acquire)) {
                total += (*block)[index % kBlock].load(std::memory_order_relaxed);
            }
        }
        return total;
    }

private:
    static constexpr std::size_t kShards = 16;
    static constexpr std::size_t kBlock = 512;
    static constexpr std::size_t kBlocks = 512;
    struct alignas(64) Block : std::array<std::atomic<std::uint64_t>, kBlock> {};
    using Place = std::atomic<Block*>;

    /// This thread's copy.
    Block& block_of(Index index)
    {
        auto& place = shards_[shard_of_this_thread(kShards)][index / kBlock];
        auto* const block = place.load(std::memory_order_acquire);
        return block != nullptr ? *block : *make_block(place);
    }

    static Block* make_block(Place& place)
    {
        auto made = std::make_unique<Block>();
        Block* seen = nullptr;
        if (place.compare_exchange_strong(seen, made.get(), std::memory_order_acq_rel)) {
            return made.release();
        }
        return seen;
    }

    std::array<std::array<Place, kBlocks>, kShards> shards_{};
    std::mutex mutex_;
    std::size_t next_ = 0;
};

}  // namespace llmproxy::telemetry
