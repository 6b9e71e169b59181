#include "llmproxy/accounts/accounts.hpp"

#include "llmproxy/accounts/token_text.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "parts.hpp"

#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <openssl/crypto.h>

namespace llmproxy::accounts {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using core::Result;
using core::Task;

constexpr int kMostReloads = 100;

const telemetry::Log& accounts_log()
{
    static const auto& log = telemetry::log("accounts");
    return log;
}

Failure no_such_token(std::string detail)
{
    Failure failure(Errc::invalid_api_key, Origin::client, std::move(detail));
    failure.say("Incorrect API key provided.");
    return failure;
}

/// Of the limit that is nearer.
double share_used(const Budget::State& state) noexcept
{
    const auto share = [](std::int64_t spent, std::int64_t limit) {
        // A limit of nothing is used up.
        return limit > 0 ? static_cast<double>(spent) / static_cast<double>(limit) : 1.0;
    };
    double used = 0;
    if (state.cost_limit) {
        used = std::max(used, share(state.spent.cost.count, state.cost_limit->count));
    }
    if (state.token_limit) {
        used = std::max(used, share(state.spent.tokens, *state.token_limit));
    }
    return used;
}

Failure expired_token()
{
    Failure failure(Errc::invalid_api_key, Origin::client, "expired token");
    failure.say("This API key has expired.");
    return failure;
}

}  // namespace

Accounts::Accounts(Options options) : anonymous_(Account::anonymous())
{
    auto clock = options.clock ? options.clock : std::make_shared<const core::RealClock>();
    auto first = make_rules(std::move(options.settings), std::move(options.static_accounts));
    parts_ = std::make_unique<Parts>(std::move(options), std::move(clock));
    parts_->rules = std::move(first);
}

Accounts::~Accounts() = default;

std::shared_ptr<const Accounts::Rules>
Accounts::make_rules(Settings settings, std::vector<StaticAccount> accounts) const
{
    auto rules = std::make_shared<Rules>(Rules{settings.budget, PriceTable(settings.prices), {}});
    for (const auto& account : accounts) {
        rules->static_accounts.emplace(account.hash, std::make_shared<const Account>(account));
    }
    return rules;
}

void Accounts::replace(Settings settings, std::vector<StaticAccount> static_accounts)
{
    const auto soft = settings.budget.soft_threshold;
    auto next = make_rules(std::move(settings), std::move(static_accounts));
    bool soft_changed = false;
    {
        const std::lock_guard lock(parts_->mutex);
        soft_changed = parts_->rules->budget.soft_threshold != soft;
        parts_->rules = std::move(next);
    }
    if (soft_changed) {
        // Budgets learn of it when their accounts are loaded again.
        parts_->cache.change([](const Account&) { return true; });
    }
}

std::shared_ptr<const Accounts::Rules> Accounts::rules() const
{
    const std::lock_guard lock(parts_->mutex);
    return parts_->rules;
}

std::optional<Result<AccountPtr>> Accounts::recall(std::string_view token)
{
    return recall(core::sha256(token), has_token_form(token));
}

std::optional<Result<AccountPtr>> Accounts::recall(const core::Sha256& hash, bool well_formed)
{
    const auto now = rules();
    if (const auto found = now->static_accounts.find(hash); found != now->static_accounts.end()) {
        return Result<AccountPtr>(found->second);
    }
    if (!parts_->store || !well_formed) {
        return Result<AccountPtr>(no_such_token("unknown token"));
    }
    auto found = parts_->cache.find(hash, parts_->clock->now());
    if (found.unknown) {
        return Result<AccountPtr>(no_such_token("unknown or revoked token"));
    }
    if (!found.account) {
        return std::nullopt;
    }
    if (found.account->expired(parts_->clock->wall())) {
        return Result<AccountPtr>(expired_token());
    }
    return Result<AccountPtr>(std::move(found.account));
}

Task<Result<AccountPtr>> Accounts::look_up(std::string token, core::Deadline deadline)
{
    const auto strand = co_await boost::asio::this_coro::executor;
    const auto hash = core::sha256(token);
    const bool well_formed = has_token_form(token);
    OPENSSL_cleanse(token.data(), token.size());
    for (;;) {
        if (auto known = recall(hash, well_formed)) {
            co_return std::move(*known);
        }
        if (deadline.passed(std::chrono::steady_clock::now())) {
            co_return Failure(Errc::overloaded, Origin::self, "waiting for a token's look-up");
        }
        auto seat = parts_->flights.join(hash, strand);
        if (seat.lead) {
            // Another may have landed between the look into memory and the taking of the lead.
            if (auto known = recall(hash, well_formed)) {
                seat.lead->land(known);
                co_return std::move(*known);
            }
            // Not inside of ?:, whose result g++ 12 would destroy twice.
            auto found = co_await load(hash);
            seat.lead->land(found);
            co_return std::move(found);
        }
        auto arrived = co_await seat.arrival(deadline);
        if (arrived) {
            co_return std::move(*arrived);
        }
    }
}

Task<Result<AccountPtr>> Accounts::load(core::Sha256 hash)
{
    for (int i = 0; i < kMostReloads; ++i) {
        // What is read after this, and put in the cache while it has not changed, is as the store is.
        const auto seen = parts_->cache.generation();
        auto access = co_await parts_->store->access(hash);
        if (!access) {
            co_return access.error();
        }
        const auto& row = *access;
        if (!row || row->token.revoked || !row->project.enabled) {
            if (parts_->cache.put_unknown(hash, parts_->clock->now(), seen)) {
                co_return no_such_token(row ? "revoked token" : "unknown token");
            }
            continue;
        }
        auto token = co_await standing_of(row->token.id);
        if (!token) {
            co_return token.error();
        }
        auto project = co_await standing_of(row->project.id);
        if (!project) {
            co_return project.error();
        }
        const auto soft = rules()->budget.soft_threshold;
        (*token)->configure(row->token.version, row->token_limits, row->token_budgets, soft);
        (*project)->configure(row->project.version, row->project_limits, row->project_budgets,
                              soft);
        (*token)->set_project_name(row->project.name);
        (*project)->set_project_name(row->project.name);
        auto account = std::make_shared<const Account>(*row, seen, *token, *project);
        if (parts_->cache.put(hash, account, seen)) {
            if (account->expired(parts_->clock->wall())) {
                co_return expired_token();
            }
            co_return std::move(account);
        }
    }
    co_return Failure(Errc::overloaded, Origin::self,
                      "accounts change faster than one can be read");
}

Task<Result<std::shared_ptr<Standing>>> Accounts::standing_of(storage::Subject subject)
{
    for (;;) {
        auto found = parts_->standings.find(subject);
        if (found.standing) {
            co_return std::move(found.standing);
        }
        const auto now = parts_->clock->wall();
        const auto spent = co_await parts_->store->ledger(subject, now);
        if (!spent) {
            co_return spent.error();
        }
        auto fresh = std::make_shared<Standing>(subject);
        fresh->budget.load(*spent, now);
        if (auto standing = parts_->standings.adopt(std::move(fresh), found.mark)) {
            co_return std::move(standing);
        }
    }
}

Failure Accounts::refuse(const RateRefusal& refusal, storage::SubjectKind whose,
                         const Account& account, LimitedRoute route, std::string& fields) const
{
    if (refusal.wait == policy::Gcra::kNever) {
        fields += kNoRetry;
    } else {
        append_retry_after(fields, refusal.wait);
    }
    const auto now = parts_->clock->now();
    append_ratelimit_lines(fields, tighter(account.token_standing()->limits.figures(route, now),
                                           account.project_standing()->limits.figures(route, now)));
    return to_failure(refusal, whose);
}

/// Nothing is begun that could not be recorded.
Result<void> Accounts::check_store() const
{
    if (!parts_->store || parts_->store->healthy()) {
        return {};
    }
    return Failure(Errc::store_unavailable, Origin::self, parts_->store->health().reason);
}

Result<Grant> Accounts::admit(AccountPtr account, const Admission& wanted, std::string& fields)
{
    if (account->revoked()) {
        return no_such_token("revoked token");
    }
    if (auto works = check_store(); !works) {
        return works.error();
    }
    const auto now = parts_->clock->now();
    const auto route = limited_route(wanted.route);
    auto state = std::make_unique<Grant::State>(*this, std::move(account), rules());
    state->route = wanted.route;
    state->request_id = wanted.request_id;
    state->request =
        wanted.request == core::Uuid{} ? core::make_uuid7(parts_->clock->wall()) : wanted.request;
    if (auto* const token = state->account->token_standing()) {
        // The token first: what it refuses must not take anything of its project's for a moment.
        if (const auto refusal =
                token->limits.admit(state->token_pass, route, wanted.tunnel, now)) {
            return refuse(*refusal, storage::SubjectKind::token, *state->account, route, fields);
        }
        auto& project = state->account->project_standing()->limits;
        if (const auto refusal = project.admit(state->project_pass, route, wanted.tunnel, now)) {
            RateLimiter::withdraw(state->token_pass, now);
            return refuse(*refusal, storage::SubjectKind::project, *state->account, route, fields);
        }
    }
    return Grant(std::move(state));
}

void Accounts::watch(Grant& grant, boost::asio::any_io_executor strand,
                     std::function<void()> cancel)
{
    auto& state = *grant.state_;
    if (!state.account->stored()) {
        return;
    }
    state.registration = parts_->live.add(state.account->token(), state.account->project(),
                                          std::move(strand), std::move(cancel));
    // A revocation that came before this was in the list.
    if (state.account->revoked()) {
        state.registration.cancel();
    }
}

void Accounts::token_changed(core::TokenId token)
{
    parts_->cache.change([token](const Account& account) { return account.token() == token; });
}

void Accounts::project_changed(core::ProjectId project)
{
    parts_->cache.change(
        [project](const Account& account) { return account.project() == project; });
}

std::size_t Accounts::token_revoked(core::TokenId token)
{
    const auto at =
        parts_->cache.change([token](const Account& account) { return account.token() == token; });
    if (const auto found = parts_->standings.find(token); found.standing) {
        found.standing->revoke(at);
    }
    return parts_->live.cancel(token);
}

std::size_t Accounts::project_revoked(core::ProjectId project)
{
    const auto at = parts_->cache.change(
        [project](const Account& account) { return account.project() == project; });
    if (const auto found = parts_->standings.find(project); found.standing) {
        found.standing->revoke(at);
    }
    return parts_->live.cancel(project);
}

Task<Result<std::vector<Budget::State>>> Accounts::budget_of(storage::Subject subject)
{
    if (!parts_->store) {
        co_return Failure(Errc::not_found, Origin::self, "there is no store");
    }
    const auto now = parts_->clock->wall();
    if (const auto found = parts_->standings.find(subject); found.standing) {
        co_return found.standing->budget.states(now);
    }
    const auto rows = co_await parts_->store->budgets(subject);
    if (!rows) {
        co_return rows.error();
    }
    const auto spent = co_await parts_->store->ledger(subject, now);
    if (!spent) {
        co_return spent.error();
    }
    Budget budget(subject);
    budget.configure(*rows, 0);
    budget.load(*spent, now);
    co_return budget.states(now);
}

void Accounts::show_budgets(const std::function<void(const BudgetUse&)>& show) const
{
    const auto now = parts_->clock->wall();
    parts_->standings.for_each([&](Standing& standing) {
        if (!standing.budget.bounds_money() && !standing.budget.bounds_tokens()) {
            return;
        }
        const auto project = standing.project_name();
        for (const auto& state : standing.budget.states(now)) {
            if (state.cost_limit || state.token_limit) {
                show(BudgetUse{standing.subject().kind, project, state.period.kind,
                               share_used(state)});
            }
        }
    });
}

Accounts::Stats Accounts::stats() const
{
    return {parts_->cache.size(), parts_->cache.unknown(), parts_->standings.size(),
            parts_->live.size()};
}

void Accounts::tell(std::span<const SoftLimitReached> reached) const
{
    for (const auto& one : reached) {
        const bool token = one.subject.kind == storage::SubjectKind::token;
        accounts_log().warn({}, "a budget has reached a soft limit",
                            {{"subject", token ? "token" : "project"},
                             {"id", one.subject.id},
                             {"percent", one.percent},
                             {"unit", one.money ? "nano_usd" : "tokens"},
                             {"spent", one.spent},
                             {"limit", one.limit}});
        if (parts_->on_soft_limit) {
            parts_->on_soft_limit(one);
        }
    }
}

}  // namespace llmproxy::accounts
