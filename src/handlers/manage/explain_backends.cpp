#include "explain_backends.hpp"

#include <algorithm>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

bool is_usable(const Places& places, const upstream::Target& target, const std::string& model)
{
    const auto& backend = *target.backend;
    if (!backend.circuit().would_admit()) {
        return false;
    }
    if (places.among == nullptr || !backend.health().is_unhealthy()) {
        return true;
    }
    // An unhealthy one is used while no other is usable.
    std::vector<const upstream::Backend*> others;
    for (const auto* one : places.targets) {
        if (one->backend->health().is_unhealthy()) {
            others.push_back(one->backend.get());
        }
    }
    return !places.among->has_usable(model, others);
}

Json show_candidate(const upstream::Target& target, bool usable, const std::string& model)
{
    auto& backend = *target.backend;
    const auto circuit = backend.circuit().report();
    auto& keys = backend.keys();
    std::size_t resting = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        resting += keys.is_cooling(i) ? 1 : 0;
    }
    Json shown = Json::object();
    shown["backend"] = backend.name();
    shown["model"] = target.model.empty() ? model : target.model;
    shown["priority"] = backend.settings().priority;
    shown["weight"] = target.weight;
    shown["usable"] = usable;
    shown["circuit"] = policy::to_string(circuit.state);
    shown["circuit_held"] = circuit.held;
    shown["probe_in_ms"] = whole_milliseconds(circuit.probe_in);
    shown["healthy"] =
        backend.health().is_checked() ? Json(!backend.health().is_unhealthy()) : Json(nullptr);
    shown["keys"] = keys.size();
    shown["resting_keys"] = resting;
    shown["key_in_ms"] = whole_milliseconds(keys.shortest_rest());
    shown["in_flight"] = backend.leased();
    return shown;
}

}  // namespace

Json whole_milliseconds(core::Duration duration)
{
    return duration == core::Duration::max()
               ? Json(nullptr)
               : Json(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

Places places_of(const pipeline::Policies& policies, const Question& question, Verdict& verdict)
{
    const auto& backends = *policies.backends;
    Places places;
    if (question.model.empty()) {
        const auto& wanted = policies.settings.default_backend;
        const auto& all = backends.all();
        auto backend = !wanted.empty()   ? backends.by_name(wanted)
                       : all.size() == 1 ? all.front()
                                         : nullptr;
        if (backend) {
            places.made.push_back({std::move(backend), 1, "", ""});
            places.targets.push_back(&places.made.front());
        } else {
            verdict.against(Failure(Errc::not_found, Origin::self, "no default_backend")
                                .say("No backend is configured for this path."));
        }
        return places;
    }
    auto* const named = backends.public_model(question.model);
    places.among = named != nullptr ? named : &backends.by_pattern();
    for (const auto& target : places.among->all()) {
        if (places.among->find(question.model, *target.backend) == &target) {
            places.targets.push_back(&target);
        }
    }
    if (places.targets.empty()) {
        verdict.against(Failure(Errc::model_not_found, Origin::client, "no backend has this model")
                            .say("The model `" + question.model +
                                 "` does not exist or you do not have access to it.")
                            .at("model"));
    }
    return places;
}

const Shape& candidate_shape()
{
    static const Shape shape{
        "Candidate",
        "A backend that may get the request.",
        {field("backend", Kind::text, "").must(),
         field("model", Kind::text, "As it would be asked for.").must(),
         field("priority", Kind::integer, "Lower ones are used first.")
             .must()
             .between(INT32_MIN, INT32_MAX),
         field("weight", Kind::integer, "").must(),
         field("usable", Kind::boolean, "Whether it could get a request now.").must(),
         field("circuit", Kind::text, "").must().one_of({"closed", "open", "half_open"}),
         field("circuit_held", Kind::boolean, "By an operator.").must(),
         field("probe_in_ms", Kind::integer,
               "While the circuit is open: until the next probe; null: never.")
             .must()
             .or_null(),
         field("healthy", Kind::boolean, "What its checks find; null: it has none.")
             .must()
             .or_null(),
         field("keys", Kind::integer, "How many it has.").must(),
         field("resting_keys", Kind::integer, "Of these, those that were refused or limited.")
             .must(),
         field("key_in_ms", Kind::integer, "Until one of them does not rest.").must().or_null(),
         field("in_flight", Kind::integer, "Requests under way.").must()}};
    return shape;
}

Json show_candidates(const Places& places, const Question& question, Verdict& verdict)
{
    auto shown = Json::array();
    std::vector<std::pair<const upstream::Target*, bool>> order;
    order.reserve(places.targets.size());
    for (const auto* target : places.targets) {
        order.emplace_back(target, is_usable(places, *target, question.model));
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
        const auto priority = [](const auto& one) {
            return one.first->backend->settings().priority;
        };
        return a.second != b.second ? a.second : priority(a) < priority(b);
    });
    for (const auto& [target, usable] : order) {
        shown.push_back(show_candidate(*target, usable, question.model));
    }
    if (!order.empty() && !order.front().second) {
        verdict.against(
            Failure(Errc::circuit_open, Origin::upstream, "no circuit lets a request through"));
    }
    return shown;
}

}  // namespace llmproxy::handlers::manage
