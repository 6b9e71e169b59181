#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace llmproxy::policy {

/// Smooth weighted round robin: over any run of total-weight picks each index comes up as often as
/// its weight says, spread out instead of in bursts ({5,1,1} gives a a b a c a a).
///
/// Thread safety: every member may be called concurrently.
class WeightedRoundRobin {
public:
    /// \param weights  one per index; an index of weight 0 is never picked.
    explicit WeightedRoundRobin(std::vector<std::uint32_t> weights);

    /// The next index, or none when there is nothing with a weight.
    [[nodiscard]] std::optional<std::size_t> pick();
    /// The next among `candidates` (those usable now); unknown indices are passed over.
    [[nodiscard]] std::optional<std::size_t> pick(std::span<const std::size_t> candidates);

private:
    struct Turn {
        std::int64_t weight = 0;
        std::int64_t current = 0;
    };
    std::mutex mutex_;
    std::vector<Turn> turns_;
    std::vector<std::size_t> all_;
};

}  // namespace llmproxy::policy
