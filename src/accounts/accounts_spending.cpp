#include "llmproxy/accounts/accounts.hpp"

#include "parts.hpp"
#include "settling.hpp"

namespace llmproxy::accounts {
namespace {

using core::Failure;
using core::Result;
using core::Task;

std::uint64_t unsigned_of(std::int64_t count) noexcept
{
    return static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
}

/// Makes `held` hold as much more as `again` does.
void merge(Budget::Hold& held, const Budget::Hold& again) noexcept
{
    held.amount.cost += again.amount.cost;
    held.amount.tokens += again.amount.tokens;
}

}  // namespace

Result<void> Accounts::take_tokens(Grant::State& state, std::int64_t most,
                                   std::string& fields) const
{
    const auto now = parts_->clock->now();
    const auto route = limited_route(state.route);
    const auto wanted = unsigned_of(most);
    if (const auto refusal = RateLimiter::take_tokens(state.token_pass, wanted, now)) {
        return refuse(*refusal, storage::SubjectKind::token, *state.account, route, fields);
    }
    if (const auto refusal = RateLimiter::take_tokens(state.project_pass, wanted, now)) {
        RateLimiter::settle_tokens(state.token_pass, 0, now);
        return refuse(*refusal, storage::SubjectKind::project, *state.account, route, fields);
    }
    return {};
}

/// Reserves in both budgets or in none: the token's first, as with rate limits.
Result<void> Accounts::hold(Grant::State& state, Amount most)
{
    auto& token = state.account->token_standing()->budget;
    auto& project = state.account->project_standing()->budget;
    const auto time = core::time_of(state.request);
    auto of_token = token.reserve(most, time);
    if (!of_token) {
        return of_token.error();
    }
    auto of_project = project.reserve(most, time);
    if (!of_project) {
        token.release(*of_token);
        return of_project.error();
    }
    if (!state.token_hold) {
        state.token_hold = *of_token;
        state.project_hold = *of_project;
        return {};
    }
    if (state.token_hold->starts != of_token->starts ||
        state.project_hold->starts != of_project->starts) {
        token.release(*of_token);
        project.release(*of_project);
        return Failure(core::Errc::insufficient_quota, core::Origin::self,
                       "the period of the reservation is long over");
    }
    merge(*state.token_hold, *of_token);
    merge(*state.project_hold, *of_project);
    return {};
}

Task<Result<Estimate>> Accounts::reserve(Grant& grant, Demand demand, std::string& fields)
{
    auto& state = *grant.state_;
    if (auto works = check_store(); !works) {
        co_return works.error();
    }
    auto* const token = state.account->token_standing();
    Bounded bounded;
    if (token != nullptr) {
        const auto& project = state.account->project_standing()->budget;
        bounded.money = token->budget.bounds_money() || project.bounds_money();
        bounded.tokens = token->budget.bounds_tokens() || project.bounds_tokens();
    }
    auto found =
        estimate(demand.shape, demand.places, state.rules->prices, state.rules->budget, bounded);
    if (!found) {
        co_return found.error();
    }
    state.estimate = *found;
    state.open = true;
    if (token != nullptr) {
        if (auto taken = take_tokens(state, found->most.tokens, fields); !taken) {
            state.open = false;
            co_return taken.error();
        }
        if (auto held = hold(state, found->most); !held) {
            fields += kNoRetry;
            state.release();
            co_return held.error();
        }
    }
    if (parts_->store) {
        storage::ReservationRecord record;
        record.request = state.request;
        record.project = state.account->project();
        record.token = state.account->token();
        record.cost = found->most.cost;
        record.tokens = found->most.tokens;
        record.route = state.route;
        record.model = demand.requested_model;
        record.backend = demand.places.empty() ? "" : demand.places.front().backend;
        record.stream = demand.stream;
        auto reserved = co_await parts_->store->reserve(std::move(record));
        if (!reserved) {
            state.release();
            co_return reserved.error();
        }
        state.reservation = std::move(*reserved);
    }
    co_return std::move(*found);
}

Task<Result<void>> Accounts::note(Grant& grant, std::string host)
{
    auto& state = *grant.state_;
    state.open = true;
    if (parts_->store) {
        storage::ReservationRecord record;
        record.request = state.request;
        record.project = state.account->project();
        record.token = state.account->token();
        record.route = state.route;
        record.host = std::move(host);
        auto reserved = co_await parts_->store->reserve(std::move(record));
        if (!reserved) {
            state.release();
            co_return reserved.error();
        }
        state.reservation = std::move(*reserved);
    }
    state.sent = true;
    co_return Result<void>();
}

Result<void> Accounts::reserve_again(Grant& grant)
{
    auto& state = *grant.state_;
    return state.token_hold ? hold(state, state.estimate.most) : Result<void>();
}

/// Counts what was used in place of what was reserved.
void Accounts::count(Grant::State& state, Amount used) const
{
    state.open = false;
    state.used = used;
    const auto now = parts_->clock->now();
    const auto tokens = unsigned_of(used.tokens);
    RateLimiter::settle_tokens(state.token_pass, tokens, now);
    RateLimiter::settle_tokens(state.project_pass, tokens, now);
    if (!state.token_hold) {
        return;
    }
    std::vector<SoftLimitReached> reached;
    state.account->token_standing()->budget.settle(*state.token_hold, used, reached);
    state.account->project_standing()->budget.settle(*state.project_hold, used, reached);
    state.token_hold.reset();
    state.project_hold.reset();
    tell(reached);
}

Task<Result<void>> Accounts::settle(Grant& grant, std::vector<Attempt> attempts)
{
    auto& state = *grant.state_;
    const auto used = price_attempts(attempts, state.rules->prices, state.estimate);
    std::vector<storage::UsageRow> rows;
    rows.reserve(attempts.size());
    std::uint64_t bytes = 0;
    for (auto& attempt : attempts) {
        auto& row = attempt.row;
        row.request = state.request;
        row.request_id = state.request_id;
        row.attempt = static_cast<std::uint32_t>(rows.size() + 1);
        row.project = state.account->project();
        row.token = state.account->token();
        if (row.route.empty()) {
            row.route = state.route;
        }
        bytes += unsigned_of(row.bytes_in) + unsigned_of(row.bytes_out);
        rows.push_back(std::move(row));
    }
    if (bytes > state.bytes_charged) {
        grant.charge_bytes(bytes - state.bytes_charged);
    }
    count(state, used);
    if (!parts_->store) {
        co_return Result<void>();
    }
    storage::Settlement settlement(std::move(state.reservation), std::move(rows));
    auto done = co_await parts_->store->settle(std::move(settlement));
    if (auto* const token = state.account->token_standing()) {
        token->set_ahead_of_store(!done);
        state.account->project_standing()->set_ahead_of_store(!done);
    }
    co_return std::move(done);
}

}  // namespace llmproxy::accounts
