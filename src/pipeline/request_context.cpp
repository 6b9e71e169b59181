#include "request_context.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::pipeline {

void RequestContext::name_backend(std::shared_ptr<upstream::Backend> chosen)
{
    backend = std::move(chosen);
    exchange.record.backend = backend->name();
    exchange.record.provider = upstream::to_string(backend->settings().provider);
    exchange.record.upstream = backend->address();
}

void RequestContext::take(upstream::Choice choice)
{
    place = choice.target;
    circuit = std::move(choice.circuit);
    pending = std::move(choice.pending);
    name_backend(place->backend);
}

void RequestContext::commit(unsigned status) noexcept
{
    if (body_is_held) {
        std::string().swap(body);
        held.release();
    }
    if (!backend || status >= 400) {
        return;
    }
    circuit.head(status);
    if (!own_keys) {
        backend->keys().warm(key);
    }
    backend->load()->succeeded(exchange.record.times.upstream_first_byte);
}

void RequestContext::learn(std::string id) const
{
    resources->learn(std::move(id),
                     {backend->name(), own_keys ? 0 : backend->key_id(key), project_of(*this)});
}

core::Duration RequestContext::header_timeout() const
{
    const auto longest = policies->settings.response_header_timeout;
    if (!backend || !backend->settings().adaptive_timeout.enabled) {
        return longest;
    }
    const auto never = longest == core::Duration(0);
    return head_times->limit(backend->name(), exchange.record.model,
                             backend->settings().adaptive_timeout.floor,
                             never ? core::Duration::max() : longest);
}

void RequestContext::learn_head_time(core::Duration time)
{
    if (backend->settings().adaptive_timeout.enabled) {
        head_times->record(backend->name(), exchange.record.model, time);
    }
}

std::string_view asked_model(const upstream::Target* target, const RequestContext& context)
{
    if (target == nullptr || target->model_json.size() < 2) {
        return context.exchange.record.model;
    }
    return std::string_view(target->model_json).substr(1, target->model_json.size() - 2);
}

core::Failure circuit_open(RequestContext& context, core::Duration opens_in)
{
    using std::chrono::ceil;
    using std::chrono::seconds;
    const auto longest = ceil<seconds>(context.policies->rules.circuit.longest_open);
    // A circuit that an operator holds open says no time at all.
    const auto wait = opens_in >= longest ? longest : ceil<seconds>(opens_in);
    core::append_all(context.error_fields, "Retry-After: ");
    core::append_number(context.error_fields, std::max(wait, seconds(1)).count());
    context.error_fields += "\r\n";
    return {core::Errc::circuit_open, core::Origin::upstream, "no circuit lets a request through"};
}

}  // namespace llmproxy::pipeline
