#include "llmproxy/policy/balancer.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace llmproxy::policy {
namespace {

std::vector<std::uint32_t> weights_of(const std::vector<Target>& targets)
{
    std::vector<std::uint32_t> weights;
    weights.reserve(targets.size());
    for (const auto& target : targets) {
        weights.push_back(target.weight);
    }
    return weights;
}

}  // namespace

Balancer::Balancer(Balancing policy, std::vector<Target> targets, RandomSource& random)
    : policy_(policy), targets_(std::move(targets)), random_(random), turns_(weights_of(targets_))
{
}

std::optional<Balancer::Choice> Balancer::choose(std::span<const std::size_t> usable)
{
    const std::lock_guard lock(mutex_);
    group_.clear();
    for (const auto index : usable) {
        if (index >= targets_.size() || targets_[index].weight == 0) {
            continue;
        }
        const auto priority = targets_[index].priority;
        if (!group_.empty() && priority < targets_[group_.front()].priority) {
            group_.clear();
        }
        if (group_.empty() || priority == targets_[group_.front()].priority) {
            group_.push_back(index);
        }
    }
    if (group_.empty()) {
        return std::nullopt;
    }
    auto chosen = group_.front();
    if (group_.size() > 1) {
        switch (policy_) {
        case Balancing::round_robin: chosen = turns_.pick(group_).value_or(chosen); break;
        case Balancing::least_pending: chosen = least_pending(group_); break;
        case Balancing::fastest: chosen = fastest(group_); break;
        }
    }
    return Choice{chosen, targets_[chosen].load->begin()};
}

bool Balancer::less_loaded(std::size_t a, std::size_t b) const noexcept
{
    // pending / weight without a division
    return std::uint64_t{targets_[a].load->pending()} * targets_[b].weight <
           std::uint64_t{targets_[b].load->pending()} * targets_[a].weight;
}

std::size_t Balancer::least_pending(std::span<const std::size_t> group)
{
    if (group.size() > kCompareAll) {
        odds_.clear();
        for (const auto index : group) {
            odds_.push_back(targets_[index].weight);
        }
        const auto first = draw(odds_);
        odds_[first] = 0;
        const auto second = draw(odds_);
        return less_loaded(group[second], group[first]) ? group[second] : group[first];
    }
    tied_.assign(1, group.front());
    for (const auto index : group.subspan(1)) {
        if (less_loaded(index, tied_.front())) {
            tied_.assign(1, index);
        } else if (!less_loaded(tied_.front(), index)) {
            tied_.push_back(index);
        }
    }
    return turns_.pick(tied_).value_or(tied_.front());
}

std::size_t Balancer::fastest(std::span<const std::size_t> group)
{
    constexpr double kShortest = 1e3;  // ns; below, differences are noise
    double shortest = std::numeric_limits<double>::max();
    odds_.clear();
    for (const auto index : group) {
        const auto time = targets_[index].load->time_to_first_byte();
        odds_.push_back(time ? std::max(static_cast<double>(time->count()), kShortest) : 0.0);
        if (time) {
            shortest = std::min(shortest, odds_.back());
        }
    }
    double total = 0;
    for (std::size_t i = 0; i < group.size(); ++i) {
        const auto& target = targets_[group[i]];
        const auto speed = odds_[i] == 0.0 ? 1.0 : shortest / odds_[i];
        const auto score = speed * target.load->success_share();
        odds_[i] = target.weight * score * score;
        total += odds_[i];
    }
    const auto floor = std::min(kFloor, 0.5 / static_cast<double>(group.size())) * total;
    for (auto& one : odds_) {
        one = std::max(one, floor);
    }
    return group[draw(odds_)];
}

/// An index of `odds`, each as likely as its share of their sum; with no odds at all the first.
std::size_t Balancer::draw(std::span<const double> odds)
{
    auto left = random_.unit() * std::accumulate(odds.begin(), odds.end(), 0.0);
    std::size_t last = 0;
    for (std::size_t i = 0; i < odds.size(); ++i) {
        if (odds[i] <= 0) {
            continue;
        }
        last = i;
        if (left < odds[i]) {
            break;
        }
        left -= odds[i];
    }
    return last;
}

}  // namespace llmproxy::policy
