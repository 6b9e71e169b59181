#include "llmproxy/upstream/backends.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace llmproxy::upstream {

core::Result<std::shared_ptr<const Backends>> Backends::make(const Settings& settings,
                                                             const policy::Settings& rules,
                                                             Surroundings surroundings,
                                                             const Backends* before)
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
        auto made = Backend::make(one, settings, rules.circuit, surroundings);
        if (!made) {
            return core::Failure(core::Errc::internal, core::Origin::self,
                                 "backend " + one.name + ": " + made.error().describe());
        }
        if (known) {
            (*made)->learn_from(*known);
        }
        set->all_.push_back(std::move(*made));
    }
    std::stable_sort(set->all_.begin(), set->all_.end(), [](const auto& a, const auto& b) {
        return a->settings().priority < b->settings().priority;
    });
    std::vector<Target> targets;
    for (const auto& backend : set->all_) {
        targets.push_back({backend, backend->settings().weight, {}, {}});
    }
    set->by_pattern_ = std::make_unique<Targets>(std::move(targets), Targets::Match::patterns,
                                                 rules.balancing, surroundings.random);
    for (const auto& model : settings.models) {
        targets.clear();
        for (const auto& one : model.targets) {
            if (auto backend = set->by_name(one.backend)) {
                const bool same = one.model.empty() || one.model == model.name;
                targets.push_back({std::move(backend), one.weight, same ? "" : one.model,
                                   same ? "" : nlohmann::json(one.model).dump()});
            }
        }
        set->public_.emplace(model.name,
                             std::make_unique<Targets>(std::move(targets), Targets::Match::always,
                                                       rules.balancing, surroundings.random));
    }
    return std::shared_ptr<const Backends>(std::move(set));
}

std::shared_ptr<Backend> Backends::by_name(std::string_view name) const noexcept
{
    const auto found = std::find_if(all_.begin(), all_.end(),
                                    [&](const auto& one) { return one->name() == name; });
    return found == all_.end() ? nullptr : *found;
}

Targets* Backends::public_model(std::string_view name) const noexcept
{
    const auto found = public_.empty() ? public_.end() : public_.find(name);
    return found == public_.end() ? nullptr : found->second.get();
}

core::Result<void> Backends::order_circuit(std::string_view name, policy::CircuitOrder order) const
{
    const auto backend = by_name(name);
    if (!backend) {
        return core::Failure(core::Errc::not_found, core::Origin::client,
                             "no backend " + std::string(name));
    }
    const auto before = backend->circuit().state();
    backend->circuit().obey(order);
    telemetry::log("upstream")
        .warn({}, "an operator has set a circuit",
              {{"backend", name},
               {"order", policy::to_string(order)},
               {"was", policy::to_string(before)}});
    return {};
}

bool Backends::any_usable() const noexcept
{
    return std::any_of(all_.begin(), all_.end(),
                       [](const auto& one) { return one->circuit().would_admit(); });
}

}  // namespace llmproxy::upstream
