#include "llmproxy/upstream/backends.hpp"

#include "llmproxy/policy/weighted_round_robin.hpp"

#include <algorithm>

namespace llmproxy::upstream {

class Turns {
public:
    explicit Turns(std::vector<std::uint32_t> weights) : robin(std::move(weights)) {}
    policy::WeightedRoundRobin robin;
};

Backends::~Backends() = default;

core::Result<std::shared_ptr<const Backends>>
Backends::make(const Settings& settings, Surroundings surroundings, const Backends* before)
{
    std::shared_ptr<Backends> set(new Backends());
    for (const auto& one : settings.backends) {
        if (one.disabled) {
            continue;
        }
        auto known = before == nullptr ? nullptr : before->by_name(one.name);
        if (known && known->can_stay(one, settings)) {
            set->all_.push_back(std::move(known));
            continue;
        }
        auto made = Backend::make(one, settings, surroundings);
        if (!made) {
            return core::Failure(core::Errc::internal, core::Origin::self,
                                 "backend " + one.name + ": " + made.error().describe());
        }
        set->all_.push_back(std::move(*made));
    }
    std::stable_sort(set->all_.begin(), set->all_.end(), [](const auto& a, const auto& b) {
        return a->settings().priority < b->settings().priority;
    });
    std::vector<std::uint32_t> weights;
    for (const auto& backend : set->all_) {
        weights.push_back(backend->settings().weight);
    }
    set->turns_ = std::make_unique<Turns>(std::move(weights));
    return std::shared_ptr<const Backends>(std::move(set));
}

std::shared_ptr<Backend> Backends::by_name(std::string_view name) const noexcept
{
    const auto found = std::find_if(all_.begin(), all_.end(),
                                    [&](const auto& one) { return one->name() == name; });
    return found == all_.end() ? nullptr : *found;
}

std::shared_ptr<Backend> Backends::choose(std::string_view model) const
{
    if (all_.size() == 1) {
        return all_.front()->serves(model) ? all_.front() : nullptr;
    }
    std::vector<std::size_t> candidates;
    for (std::size_t i = 0; i < all_.size(); ++i) {
        const bool worse = !candidates.empty() && all_[i]->settings().priority !=
                                                      all_[candidates.front()]->settings().priority;
        if (worse) {
            break;
        }
        if (all_[i]->serves(model)) {
            candidates.push_back(i);
        }
    }
    if (candidates.size() <= 1) {
        return candidates.empty() ? nullptr : all_[candidates.front()];
    }
    const auto picked = turns_->robin.pick(candidates);
    return picked ? all_[*picked] : all_[candidates.front()];
}

}  // namespace llmproxy::upstream
