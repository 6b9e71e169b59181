#include "llmproxy/upstream/targets.hpp"

#include <algorithm>

namespace llmproxy::upstream {
namespace {

std::vector<policy::Target> balanced(const std::vector<Target>& targets)
{
    std::vector<policy::Target> out;
    out.reserve(targets.size());
    for (const auto& target : targets) {
        out.push_back({target.weight, target.backend->settings().priority, target.backend->load()});
    }
    return out;
}

}  // namespace

Targets::Targets(std::vector<Target> targets, Match match, policy::Balancing balancing,
                 policy::RandomSource& random)
    : targets_(std::move(targets)), match_(match), balancer_(balancing, balanced(targets_), random)
{
}

bool Targets::fits(const Target& target, std::string_view model,
                   std::span<const Backend* const> tried) const noexcept
{
    return (match_ == Match::always || target.backend->serves(model)) &&
           std::find(tried.begin(), tried.end(), target.backend.get()) == tried.end();
}

bool Targets::serves(std::string_view model) const noexcept
{
    return std::any_of(targets_.begin(), targets_.end(),
                       [&](const Target& one) { return fits(one, model, {}); });
}

std::optional<Choice> Targets::choose(std::string_view model, std::span<const Backend* const> tried)
{
    if (targets_.size() == 1) {
        const auto& only = targets_.front();
        auto circuit = fits(only, model, tried) ? only.backend->circuit().try_acquire()
                                                : policy::CircuitBreaker::Permit();
        if (!circuit) {
            return std::nullopt;
        }
        // The only backend by patterns is the only one at all, so that nobody compares its load.
        auto pending = match_ == Match::always ? only.backend->load()->begin()
                                               : policy::BackendLoad::Pending();
        return Choice{&only, std::move(circuit), std::move(pending)};
    }
    Indices usable;
    Indices unhealthy;
    for (std::size_t i = 0; i < targets_.size(); ++i) {
        const auto& backend = *targets_[i].backend;
        if (fits(targets_[i], model, tried) && backend.circuit().would_admit()) {
            (backend.health().is_unhealthy() ? unhealthy : usable).push_back(i);
        }
    }
    if (auto choice = choose_among(usable)) {
        return choice;
    }
    return unhealthy.empty() || has_healthy(model) ? std::nullopt : choose_among(unhealthy);
}

const Target* Targets::find(std::string_view model, const Backend& backend) const noexcept
{
    const auto found = std::find_if(targets_.begin(), targets_.end(), [&](const Target& one) {
        return one.backend.get() == &backend && fits(one, model, {});
    });
    return found == targets_.end() ? nullptr : &*found;
}

std::optional<Choice> Targets::choose_among(Indices& usable)
{
    while (auto chosen = balancer_.choose({usable.data(), usable.size()})) {
        const auto& target = targets_[chosen->index];
        // Between the look and this another request may have taken the place of the probe.
        if (auto circuit = target.backend->circuit().try_acquire()) {
            return Choice{&target, std::move(circuit), std::move(chosen->pending)};
        }
        usable.erase(std::find(usable.begin(), usable.end(), chosen->index));
    }
    return std::nullopt;
}

bool Targets::has_healthy(std::string_view model) const noexcept
{
    return std::any_of(targets_.begin(), targets_.end(), [&](const Target& one) {
        return !one.backend->health().is_unhealthy() && fits(one, model, {}) &&
               one.backend->circuit().would_admit();
    });
}

bool Targets::has_usable(std::string_view model,
                         std::span<const Backend* const> tried) const noexcept
{
    return std::any_of(targets_.begin(), targets_.end(), [&](const Target& one) {
        return fits(one, model, tried) && one.backend->circuit().would_admit() &&
               (!one.backend->health().is_unhealthy() || !has_healthy(model));
    });
}

core::Duration Targets::opens_in(std::string_view model) const noexcept
{
    auto shortest = core::Duration::max();
    for (const auto& target : targets_) {
        if (fits(target, model, {})) {
            shortest = std::min(shortest, target.backend->circuit().probe_in());
        }
    }
    return shortest;
}

}  // namespace llmproxy::upstream
