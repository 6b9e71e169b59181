#pragma once

#include "llmproxy/policy/backend_load.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/policy/settings.hpp"
#include "llmproxy/policy/weighted_round_robin.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace llmproxy::policy {

/// Something that requests can go to: a backend, or one target of a public model name.
struct Target {
    std::uint32_t weight = 1;   ///< 0: never chosen
    std::int32_t priority = 0;  ///< lower first
    std::shared_ptr<BackendLoad> load;
};

/// Chooses among targets: of those that are usable now the lowest priority number, and of these
///   - `round_robin`: in turn, as often as the weights say, spread out;
///   - `least_pending`: fewest exchanges under way per weight; ties in turn. All are compared up to kCompareAll, above
///     that two drawn by weight;
///   - `fastest`: drawn with odds of weight * (success share / time to first byte)^2, but each gets at least kFloor of
///     the requests, so that one that has become fast again is noticed. One without figures is taken to be as fast as
///     the fastest.
///
/// Thread safety: every member may be called concurrently. Choosing and counting the exchange as pending are one step.
/// Lifetime: `random` must outlive it; a Choice does not need it.
class Balancer {
public:
    static constexpr std::size_t kCompareAll = 16;
    static constexpr double kFloor = 0.02;

    /// \param targets  each with a load.
    Balancer(Balancing policy, std::vector<Target> targets, RandomSource& random);

    struct Choice {
        std::size_t index;  ///< of the target
        BackendLoad::Pending pending;
    };

    /// One of `usable` (indices of targets whose circuit admits and that this request has not tried); unknown indices are
    /// passed over. None if nothing is left.
    [[nodiscard]] std::optional<Choice> choose(std::span<const std::size_t> usable);

    [[nodiscard]] std::size_t size() const noexcept { return targets_.size(); }

private:
    std::size_t least_pending(std::span<const std::size_t> group);
    std::size_t fastest(std::span<const std::size_t> group);
    std::size_t draw(std::span<const double> odds);
    [[nodiscard]] bool less_loaded(std::size_t a, std::size_t b) const noexcept;

    const Balancing policy_;
    const std::vector<Target> targets_;
    RandomSource& random_;
    WeightedRoundRobin turns_;
    std::mutex mutex_;
    std::vector<std::size_t> group_;  // scratch, under the mutex
    std::vector<std::size_t> tied_;
    std::vector<double> odds_;
};

}  // namespace llmproxy::policy
