#include "llmproxy/core/text.hpp"
#include "request_context.hpp"

namespace llmproxy::pipeline {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

/// The target for the model on the backend that holds what the request names.
core::Result<void> take_home(RequestContext& context, std::string_view model)
{
    const auto* const target = context.targets->find(model, *context.home);
    if (target == nullptr) {
        std::string message = "The model `";
        message.append(model.substr(0, 200))
            .append("` is not available where `")
            .append(context.home_of)
            .append("` is kept.");
        return Failure(Errc::model_not_found, Origin::client).say(std::move(message)).at("model");
    }
    auto& backend = *target->backend;
    auto circuit = backend.circuit().try_acquire();
    if (!circuit) {
        return circuit_open(context, backend.circuit().probe_in());
    }
    context.take({target, std::move(circuit), backend.load()->begin()});
    context.targets = nullptr;  // nowhere else
    return {};
}

}  // namespace

core::Result<void> choose_backend(RequestContext& context, std::optional<std::string_view> named)
{
    const auto& backends = *context.policies->backends;
    if (named) {
        const auto model = *named;
        context.exchange.record.model = model;
        auto* const known = backends.public_model(model);
        context.targets = known != nullptr ? known : &backends.by_pattern();
        if (context.home) {
            return take_home(context, model);
        }
        if (auto choice = context.targets->choose(model, {})) {
            context.take(std::move(*choice));
            return {};
        }
        if (!context.targets->serves(model)) {
            std::string message = "The model `";
            message.append(model.substr(0, 200))
                .append("` does not exist or you do not have access to it.");
            return Failure(Errc::model_not_found, Origin::client)
                .say(std::move(message))
                .at("model");
        }
        return circuit_open(context, context.targets->opens_in(model));
    }
    const auto& wanted = context.policies->settings.default_backend;
    auto only = backends.all().size() == 1 ? backends.all().front() : nullptr;
    auto backend = context.home     ? context.home
                   : wanted.empty() ? std::move(only)
                                    : backends.by_name(wanted);
    if (!backend && context.model_out_of_reach) {
        return Failure(Errc::bad_request, Origin::client, "model of a form out of reach")
            .say("The form's `model` field is not within its first 64 KiB: it must come before "
                 "the file.")
            .at("model");
    }
    if (!backend) {
        return Failure(Errc::not_found, Origin::self, "no default_backend for this route")
            .say("No backend is configured for this path.");
    }
    auto circuit = backend->circuit().try_acquire();
    if (!circuit) {
        return circuit_open(context, backend->circuit().probe_in());
    }
    context.circuit = std::move(circuit);
    context.name_backend(std::move(backend));
    return {};
}

}  // namespace llmproxy::pipeline
