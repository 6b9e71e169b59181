#include "spending.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/openai/cost_facts.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "request_context.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace llmproxy::pipeline {
namespace {

using accounts::PricedPlace;
using accounts::RequestShape;
using core::Errc;

PricedPlace place_of(const upstream::Target* target, const upstream::Backend& backend,
                     const RequestContext& context)
{
    return {asked_model(target, context), backend.name(),
            upstream::to_string(backend.settings().provider)};
}

/// Wherever the request may go.
std::vector<PricedPlace> places_of(const RequestContext& context)
{
    std::vector<PricedPlace> places;
    if (context.targets == nullptr) {
        places.push_back(place_of(context.place, *context.backend, context));
        return places;
    }
    for (const auto& target : context.targets->all()) {
        if (context.targets->find(context.exchange.record.model, *target.backend) == &target) {
            places.push_back(place_of(&target, *target.backend, context));
        }
    }
    return places;
}

RequestShape::Kind kind_of(const RequestContext& context)
{
    switch (context.route) {
    case openai::Route::chat_completions:
    case openai::Route::completions:
    case openai::Route::responses: return RequestShape::Kind::generates;
    case openai::Route::embeddings: return RequestShape::Kind::embeds;
    case openai::Route::models: return RequestShape::Kind::free;
    default: break;
    }
    const auto verb = context.exchange.head().verb;
    const bool free = !context.upgrade && verb != http::Verb::post && verb != http::Verb::put &&
                      verb != http::Verb::patch;
    return free ? RequestShape::Kind::free : RequestShape::Kind::unknown;
}

bool is_bounded(const accounts::Account& account)
{
    const auto bounds = [](const accounts::Standing* standing) {
        return standing != nullptr &&
               (standing->budget.bounds_money() || standing->budget.bounds_tokens());
    };
    return bounds(account.token_standing()) || bounds(account.project_standing());
}

RequestShape shape_of(RequestContext& context, const accounts::Account& account)
{
    RequestShape shape;
    shape.kind = kind_of(context);
    shape.body_bytes = context.body.size();
    if (!context.facts) {
        return shape;
    }
    shape.max_output_tokens = context.facts->max_tokens;
    shape.choices = context.facts->n.value_or(1);
    if (is_bounded(account)) {
        const auto facts = openai::read_cost_facts(context.body);
        shape.choices = std::max(shape.choices, facts.best_of);
        shape.remote_content = facts.remote_content;
        shape.hosted_tools = facts.hosted_tools;
        shape.audio = facts.audio;
    }
    return shape;
}

std::string_view limit_member(openai::Route route) noexcept
{
    switch (route) {
    case openai::Route::chat_completions: return "max_completion_tokens";
    case openai::Route::responses: return "max_output_tokens";
    default: return "max_tokens";
    }
}

std::int64_t signed_of(std::uint64_t count) noexcept
{
    return static_cast<std::int64_t>(
        std::min<std::uint64_t>(count, std::numeric_limits<std::int64_t>::max()));
}

storage::TokenCounts told(const telemetry::TokenUsage& usage) noexcept
{
    storage::TokenCounts counts;
    counts.prompt = signed_of(usage.input);
    counts.cached = signed_of(usage.cached);
    counts.cache_write = signed_of(usage.cache_write);
    counts.completion = signed_of(usage.output);
    counts.reasoning = signed_of(usage.reasoning);
    counts.audio_input = signed_of(usage.audio_input);
    counts.audio_output = signed_of(usage.audio_output);
    return counts;
}

}  // namespace

Spending::Spending(accounts::Accounts& accounts, accounts::Grant grant)
    : accounts_(accounts), grant_(std::move(grant))
{
}

core::Task<core::Result<void>> Spending::reserve(RequestContext& context)
{
    const auto places = places_of(context);
    body_bytes_ = context.body.size();
    const auto& record = context.exchange.record;
    accounts::Demand demand(shape_of(context, grant_.account()), places, record.model,
                            context.facts && context.facts->stream);
    auto estimate = co_await accounts_.reserve(grant_, demand, context.error_fields);
    if (!estimate) {
        co_return estimate.error();
    }
    reserved_ = true;
    if (estimate->inject_max_tokens && context.facts) {
        std::string text = "\"";
        text.append(limit_member(context.route)).append("\":");
        core::append_number(text, *estimate->inject_max_tokens);
        text += context.facts->object_empty ? "" : ",";
        context.token_limit.emplace(
            openai::Splice{context.facts->object_start, 0, std::move(text)});
    }
    co_return core::Result<void>();
}

void Spending::begin_attempt(const RequestContext& context)
{
    began_ = std::chrono::steady_clock::now();
    under_way_ = true;
    grant_.begin_attempt(place_of(context.place, *context.backend, context));
}

accounts::Attempt Spending::describe(const RequestContext& context) const
{
    const auto& record = context.exchange.record;
    accounts::Attempt attempt;
    attempt.model = asked_model(context.place, context);
    attempt.provider = record.provider;
    auto& row = attempt.row;
    row.route = record.route;
    row.backend = record.backend;
    row.key = static_cast<std::uint32_t>(context.key);
    row.requested_model = record.model;
    row.stream = record.stream;
    row.duration = std::chrono::steady_clock::now() - began_;
    return attempt;
}

void Spending::attempt_failed(const RequestContext& context, std::string_view outcome,
                              unsigned status, bool sent)
{
    if (!std::exchange(under_way_, false) || !sent) {
        return;
    }
    auto attempt = describe(context);
    attempt.row.outcome = outcome;
    attempt.row.status = static_cast<std::uint16_t>(status);
    if (status == 0) {
        // It may have been worked on, and nobody will tell.
        cost_before_ = true;
        attempt.row.estimated = true;
        attempt.row.tokens.prompt = accounts::likely_tokens(body_bytes_);
    }
    attempts_.push_back(std::move(attempt));
}

core::Result<void> Spending::may_attempt_again()
{
    if (!std::exchange(cost_before_, false)) {
        return {};
    }
    return accounts_.reserve_again(grant_);
}

core::Task<core::Result<void>> Spending::settle(RequestContext& context)
{
    if (settled_ || !reserved_) {
        co_return core::Result<void>();
    }
    settled_ = true;
    if (std::exchange(under_way_, false)) {
        const auto& record = context.exchange.record;
        auto attempt = describe(context);
        auto& row = attempt.row;
        row.served_model = record.served_model;
        row.status = static_cast<std::uint16_t>(context.upstream_status);
        row.outcome = record.outcome;
        row.finish_reason = record.finish_reason;
        row.first_byte = record.times.upstream_first_byte;
        row.bytes_in = signed_of(std::max(record.bytes_in, body_bytes_));
        row.bytes_out = signed_of(record.bytes_out + context.about_to_relay);
        row.tokens = told(record.usage);
        const bool generates = kind_of(context) == RequestShape::Kind::generates;
        if (!record.usage.present && context.upstream_status < 400 && context.facts) {
            row.estimated = true;
            row.tokens.prompt = accounts::likely_tokens(body_bytes_);
            if (generates) {
                // An event holds a token or a little more.
                row.tokens.completion = record.stream ? signed_of(context.events_relayed)
                                                      : accounts::likely_tokens(record.bytes_out);
            }
        }
        attempts_.push_back(std::move(attempt));
    }
    if (attempts_.empty()) {
        grant_.cancel();
        co_return core::Result<void>();
    }
    auto done = co_await accounts_.settle(grant_, std::move(attempts_));
    context.exchange.record.cost = grant_.used().cost;
    co_return std::move(done);
}

core::Task<void> Spending::close(RequestContext& context)
{
    auto settled = co_await settle(context);
    if (!settled) {
        telemetry::log("pipeline")
            .warn_about(context.exchange.record, "usage is not in the store yet",
                        {{"error", settled.error().describe()}});
    }
}

bool Spending::is_exhausted(std::uint64_t events) const noexcept
{
    storage::TokenCounts so_far;
    so_far.prompt = accounts::likely_tokens(body_bytes_);
    so_far.completion = signed_of(events);
    return reserved_ && !settled_ && grant_.exhausted_by(so_far);
}

void end_when_revoked(RequestContext& context)
{
    context.revoked = true;
    context.exchange.watchdog().stop();
}

}  // namespace llmproxy::pipeline
