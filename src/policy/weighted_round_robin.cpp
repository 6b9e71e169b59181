#include "llmproxy/policy/weighted_round_robin.hpp"

namespace llmproxy::policy {

WeightedRoundRobin::WeightedRoundRobin(std::vector<std::uint32_t> weights)
{
    turns_.reserve(weights.size());
    for (const auto weight : weights) {
        all_.push_back(turns_.size());
        turns_.push_back({static_cast<std::int64_t>(weight), 0});
    }
}

std::optional<std::size_t> WeightedRoundRobin::pick()
{
    return pick(all_);
}

std::optional<std::size_t> WeightedRoundRobin::pick(std::span<const std::size_t> candidates)
{
    const std::lock_guard lock(mutex_);
    std::optional<std::size_t> best;
    std::int64_t total = 0;
    for (const auto index : candidates) {
        if (index >= turns_.size() || turns_[index].weight == 0) {
            continue;
        }
        auto& turn = turns_[index];
        turn.current += turn.weight;
        total += turn.weight;
        if (!best || turn.current > turns_[*best].current) {
            best = index;
        }
    }
    if (best) {
        turns_[*best].current -= total;
    }
    return best;
}

}  // namespace llmproxy::policy
