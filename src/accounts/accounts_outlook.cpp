#include "llmproxy/accounts/accounts.hpp"
#include "parts.hpp"

namespace llmproxy::accounts {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using core::Result;
using core::Task;

Failure no_such(std::string_view what)
{
    return {Errc::not_found, Origin::client, "no such " + std::string(what)};
}

}  // namespace

Task<Result<AccountPtr>> Accounts::account_of(core::TokenId token)
{
    if (!parts_->store) {
        co_return no_such("token");
    }
    auto row = co_await parts_->store->token(token);
    if (!row) {
        co_return row.error();
    }
    if (!*row) {
        co_return no_such("token");
    }
    const auto hash = (*row)->hash;
    if (auto known = recall(hash, true)) {
        co_return std::move(*known);
    }
    // Not inside of ?:, whose result g++ 12 would destroy twice.
    auto loaded = co_await load(hash);
    co_return std::move(loaded);
}

Task<Result<AccountPtr>> Accounts::account_of(core::ProjectId project)
{
    if (!parts_->store) {
        co_return no_such("project");
    }
    const auto seen = parts_->cache.generation();
    auto row = co_await parts_->store->project(project);
    if (!row) {
        co_return row.error();
    }
    if (!*row) {
        co_return no_such("project");
    }
    if (!(*row)->enabled) {
        co_return Failure(Errc::invalid_api_key, Origin::client, "the project is disabled");
    }
    storage::TokenAccess access;
    access.project = std::move(**row);
    auto limits = co_await parts_->store->limits(project);
    if (!limits) {
        co_return limits.error();
    }
    auto budgets = co_await parts_->store->budgets(project);
    if (!budgets) {
        co_return budgets.error();
    }
    auto standing = co_await standing_of(project);
    if (!standing) {
        co_return standing.error();
    }
    (*standing)->configure(access.project.version, *limits, *budgets,
                           rules()->budget.soft_threshold);
    auto token = std::make_shared<Standing>(core::TokenId::none);
    co_return AccountPtr(
        std::make_shared<const Account>(access, seen, std::move(token), std::move(*standing)));
}

Outlook Accounts::outlook(const Account& account, std::string_view route, bool tunnel,
                          const RequestShape& shape, std::span<const PricedPlace> places) const
{
    Outlook made;
    if (!account.stored()) {
        return made;
    }
    const auto now = parts_->clock->now();
    const auto time = parts_->clock->wall();
    const auto by = limited_route(route);
    const auto limits_of = [&](Standing& standing) {
        if (!made.limited) {
            if (const auto refusal = standing.limits.would_refuse(by, tunnel, now)) {
                made.limited = to_failure(*refusal, standing.subject().kind);
            }
        }
        return standing.limits.figures(by, now);
    };
    auto& token = *account.token_standing();
    auto& project = *account.project_standing();
    made.token.limits = limits_of(token);
    made.project.limits = limits_of(project);
    made.token.budgets = token.budget.states(time);
    made.project.budgets = project.budget.states(time);
    const Bounded bounded{token.budget.bounds_money() || project.budget.bounds_money(),
                          token.budget.bounds_tokens() || project.budget.bounds_tokens()};
    const auto now_in_force = rules();
    const auto least = estimate(shape, places, now_in_force->prices, now_in_force->budget, bounded);
    if (!least) {
        made.unpayable = least.error();
        return made;
    }
    for (auto* const standing : {&token, &project}) {
        if (const auto left = standing->budget.would_reserve(least->most, time); !left) {
            made.unpayable = left.error();
            break;
        }
    }
    return made;
}

}  // namespace llmproxy::accounts
