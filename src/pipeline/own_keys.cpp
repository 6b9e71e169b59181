#include "request_context.hpp"

namespace llmproxy::pipeline {
namespace {

/// Whether what the route leaves at the upstream is seen by whoever has the same key.
bool shares_state(openai::Route route) noexcept
{
    return route == openai::Route::other;
}

}  // namespace

const core::Secret& RequestContext::key_text() const noexcept
{
    return own_keys ? own_keys->at(key % own_keys->size()) : backend->key(key);
}

core::Task<core::Result<void>> find_own_keys(RequestContext& context)
{
    context.own_keys = nullptr;
    auto* const keys = context.policies->provider_keys;
    if (!context.account->stored() || keys == nullptr) {
        co_return core::Result<void>();
    }
    const auto project = context.account->project();
    auto known = keys->recall(project, context.backend->name());
    if (!known) {
        auto read = co_await keys->of(project, context.backend->name());
        if (!read) {
            co_return read.error();
        }
        known = std::move(*read);
    }
    context.own_keys = std::move(*known);
    if (!context.own_keys && shares_state(context.route)) {
        co_return core::Failure(core::Errc::route_not_allowed, core::Origin::client,
                                "no provider key of the project's own")
            .say("This route needs a provider key of the project's own: files, batches and the "
                 "like are seen by everybody who shares a key.");
    }
    co_return check_tenant(context);
}

}  // namespace llmproxy::pipeline
