#include "llmproxy/accounts/grant.hpp"

#include "parts.hpp"

namespace llmproxy::accounts {

Grant::State::~State()
{
    if (!open) {
        return;
    }
    if (!sent) {
        release();
        return;
    }
    // The store makes an indeterminate row of the reservation; here the same counts.
    owner.count(*this, estimate.most);
    if (auto* const standing = account->token_standing()) {
        standing->set_ahead_of_store(true);
        account->project_standing()->set_ahead_of_store(true);
    }
}

void Grant::State::release() noexcept
{
    open = false;
    reservation.cancel();
    const auto now = owner.parts_->clock->now();
    RateLimiter::settle_tokens(token_pass, 0, now);
    RateLimiter::settle_tokens(project_pass, 0, now);
    if (token_hold) {
        account->token_standing()->budget.release(*token_hold);
        account->project_standing()->budget.release(*project_hold);
        token_hold.reset();
        project_hold.reset();
    }
}

Grant::Grant() noexcept = default;
Grant::Grant(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Grant::Grant(Grant&& other) noexcept = default;
Grant& Grant::operator=(Grant&& other) noexcept = default;
Grant::~Grant() = default;

const Account& Grant::account() const noexcept
{
    return *state_->account;
}

const core::Uuid& Grant::request() const noexcept
{
    return state_->request;
}

void Grant::begin_attempt(const PricedPlace& place)
{
    state_->sent = true;
    state_->price = state_->rules->prices.find(place);
    state_->reservation.note_backend(place.backend);
}

bool Grant::exhausted_by(const storage::TokenCounts& so_far) const noexcept
{
    const auto& state = *state_;
    if (!state.token_hold || state.rules->budget.enforce != Enforcement::strict) {
        return false;
    }
    const auto& token = state.account->token_standing()->budget;
    const auto& project = state.account->project_standing()->budget;
    // With `reserve_again` the holds are larger, but the first attempt may have used its share.
    const auto& most = state.estimate.most;
    if ((token.bounds_tokens() || project.bounds_tokens()) && so_far.total() > most.tokens) {
        return true;
    }
    return (token.bounds_money() || project.bounds_money()) && state.price != nullptr &&
           state.price->cost(so_far) > most.cost;
}

void Grant::charge_bytes(std::uint64_t bytes) noexcept
{
    const auto now = state_->owner.parts_->clock->now();
    state_->bytes_charged += bytes;
    RateLimiter::charge_bytes(state_->token_pass, bytes, now);
    RateLimiter::charge_bytes(state_->project_pass, bytes, now);
}

void Grant::append_ratelimit_lines(std::string& out) const
{
    const auto now = state_->owner.parts_->clock->now();
    accounts::append_ratelimit_lines(out, tighter(RateLimiter::figures(state_->token_pass, now),
                                                  RateLimiter::figures(state_->project_pass, now)));
}

Amount Grant::used() const noexcept
{
    return state_->used;
}

void Grant::cancel() noexcept
{
    if (state_ && state_->open) {
        state_->release();
    }
}

}  // namespace llmproxy::accounts
