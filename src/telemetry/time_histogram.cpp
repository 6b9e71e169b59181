#include "time_histogram.hpp"

#include "thread_shard.hpp"

namespace llmproxy::telemetry {
namespace {

/// What is at a place, made by whoever comes first.
template <typename Made>
Made& at(std::atomic<Made*>& place)
{
    auto* there = place.load(std::memory_order_acquire);
    if (there != nullptr) {
        return *there;
    }
    auto made = std::make_unique<Made>();
    if (place.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) {
        there = made.release();
    }
    return *there;
}

}  // namespace

TimeHistogram::~TimeHistogram()
{
    for (auto& place : shards_) {
        const std::unique_ptr<Shard> shard(place.load(std::memory_order_relaxed));
        if (!shard) {
            continue;
        }
        for (auto& block : shard->blocks) {
            const std::unique_ptr<Block> last(block.load(std::memory_order_relaxed));
        }
    }
}

void TimeHistogram::record(core::Duration time)
{
    const auto bucket = TimeBuckets::of(time);
    auto& shard = at(shards_[shard_of_this_thread(kShards)]);
    auto& block = at(shard.blocks[bucket / TimeBuckets::kSteps]);
    block[bucket % TimeBuckets::kSteps].fetch_add(1, std::memory_order_relaxed);
    const auto nanoseconds = std::max(time, core::Duration::zero()).count();
    shard.nanoseconds.fetch_add(static_cast<std::uint64_t>(nanoseconds), std::memory_order_relaxed);
}

void TimeHistogram::add_to(TimeCounts& counts) const noexcept
{
    for (const auto& place : shards_) {
        const auto* shard = place.load(std::memory_order_acquire);
        if (shard == nullptr) {
            continue;
        }
        counts.add_sum(shard->nanoseconds.load(std::memory_order_relaxed));
        for (std::size_t i = 0; i < kBlocks; ++i) {
            const auto* block = shard->blocks[i].load(std::memory_order_acquire);
            for (std::size_t step = 0; block != nullptr && step < block->size(); ++step) {
                counts.add(i * TimeBuckets::kSteps + step,
                           (*block)[step].load(std::memory_order_relaxed));
            }
        }
    }
}

}  // namespace llmproxy::telemetry
