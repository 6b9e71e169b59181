#pragma once

#include "llmproxy/accounts/account.hpp"
#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/estimate.hpp"
#include "llmproxy/accounts/grant.hpp"
#include "llmproxy/accounts/settings.hpp"
#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/storage/store.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::accounts {

/// Who wants in, by which route.
struct Admission {
    std::string_view route;         ///< the word that logs have for it; static text
    bool tunnel = false;            ///< takes a tunnel's place instead of a request's
    core::Uuid request{};           ///< made here for this request; zero: one is made
    std::string_view request_id{};  ///< x-request-id where it is another, else empty
};

/// What is about to be sent, and where it may go. Views: they must outlive the call.
struct Demand {
    Demand(const RequestShape& the_shape, std::span<const PricedPlace> the_places,
           std::string_view model, bool is_stream)
        : shape(the_shape), places(the_places), requested_model(model), stream(is_stream)
    {
    }

    RequestShape shape;
    std::span<const PricedPlace> places;
    std::string_view requested_model;  ///< as the client named it
    bool stream;
};

/// How a request of an account would fare, asked without making one.
struct Outlook {
    struct Of {
        RateLimiter::Figures limits;
        std::vector<Budget::State> budgets;
    };
    Of token;
    Of project;
    std::optional<core::Failure> limited;    ///< by a rate limit
    std::optional<core::Failure> unpayable;  ///< nothing is left, or its cost has no bound
};

/// Projects and tokens, as the way of a request sees them: who shows a token, what it may do, what it has left, what it
/// used. In this order:
///
///     recall, or look_up -> Account::check_route -> admit -> watch -> Account::check_model -> reserve
///     -> Grant::begin_attempt, before each attempt -> settle, before the last piece of the answer is written
///
/// Tunnels and forwarded requests, whose cost nobody knows: recall, or look_up -> admit -> watch -> note -> settle.
///
/// Tokens and projects are in the store; those that were used lately are in memory too. Tokens of the configuration work
/// beside them, and alone where there is no store: then nothing is reserved nor recorded.
///
/// Thread safety: every member may be called concurrently; a Grant belongs to its session. `recall` and `admit` never
/// wait; `reserve` and `settle` wait for the store only. Lifetime: outlives its grants and whoever awaits it.
class Accounts {
public:
    struct Options {
        Settings settings;
        std::vector<StaticAccount> static_accounts;
        std::shared_ptr<storage::Store> store;     ///< null: none
        std::shared_ptr<const core::Clock> clock;  ///< null: the machine's
        /// Called when spending reaches a soft limit; from any thread, must be short.
        std::function<void(const SoftLimitReached&)> on_soft_limit;
    };
    explicit Accounts(Options options);
    Accounts(const Accounts&) = delete;
    Accounts& operator=(const Accounts&) = delete;
    ~Accounts();

    /// Follows another configuration; requests under way keep the prices that they began with. The size of the token
    /// cache stays.
    void replace(Settings settings, std::vector<StaticAccount> static_accounts);

    /// \name Who
    ///
    /// Fail with Errc::invalid_api_key: unknown, revoked or expired.
    /// @{
    /// Whose token it is, as far as memory knows; none: `look_up` has to ask the store.
    [[nodiscard]] std::optional<core::Result<AccountPtr>> recall(std::string_view token);
    /// The same, asking the store if need be; one asks for all who want the same token. Runs on a strand.
    /// Fails besides with Errc::store_unavailable, and with Errc::overloaded when the deadline passes.
    core::Task<core::Result<AccountPtr>> look_up(std::string token, core::Deadline deadline);
    /// Who need not show a token, under `auth.mode: open`.
    [[nodiscard]] const AccountPtr& anonymous() const noexcept { return anonymous_; }
    /// @}

    /// \name What
    /// @{
    /// Takes a request, and a place, under the rate limits of token and project.
    /// Fails with Errc::rate_limit_exceeded, Errc::invalid_api_key when the token was revoked meanwhile, or
    /// Errc::store_unavailable while the store cannot record what the request would use.
    /// \param fields  gets the refusal's header lines: Retry-After, x-ratelimit-*, x-should-retry.
    [[nodiscard]] core::Result<Grant> admit(AccountPtr account, const Admission& wanted,
                                            std::string& fields);

    /// Has `cancel` called, on `strand`, should the token or its project be revoked while the grant lasts.
    void watch(Grant& grant, boost::asio::any_io_executor strand, std::function<void()> cancel);

    /// Reserves what the request can cost: tokens per minute, budgets of token and project, and a place in the store's
    /// journal. All or nothing. Says what has to be injected into the body. Once per grant.
    /// Fails with Errc::rate_limit_exceeded, Errc::insufficient_quota, Errc::model_not_allowed (its cost has no bound),
    /// Errc::store_unavailable, Errc::overloaded.
    /// \param fields  as of `admit`. Grant, views and fields must outlive the call.
    core::Task<core::Result<Estimate>> reserve(Grant& grant, Demand demand, std::string& fields);

    /// Notes that something without a price is about to begin, so that it is accounted for whatever happens. In place
    /// of `reserve`; from here on the grant counts as sent.
    /// Fails with Errc::store_unavailable, Errc::overloaded. \param host  with the port. The grant must outlive the call.
    core::Task<core::Result<void>> note(Grant& grant, std::string host);

    /// Reserves the same once more in the budgets, because an attempt may have cost something and another follows.
    /// Fails with Errc::insufficient_quota: then no other may follow.
    [[nodiscard]] core::Result<void> reserve_again(Grant& grant);

    /// Counts what the attempts used, whatever becomes of the store, and records it. When it returns, it is durable as
    /// configured. Fails with Errc::store_unavailable when it is not yet; it will be, so it need not be repeated.
    /// \param attempts  in their order; none: the request cost nothing. The grant must outlive the call.
    core::Task<core::Result<void>> settle(Grant& grant, std::vector<Attempt> attempts);
    /// @}

    /// \name Changes
    ///
    /// For whoever has changed the store, after it was committed.
    /// @{
    /// Limits, budgets, grants, names: count from the next request on.
    void token_changed(core::TokenId token);
    void project_changed(core::ProjectId project);
    /// Revoked, removed or disabled: refused from now on, and what is under way is cancelled. Tells how much that was.
    std::size_t token_revoked(core::TokenId token);
    std::size_t project_revoked(core::ProjectId project);
    /// @}

    /// Where a subject's budgets stand, what is reserved included.
    core::Task<core::Result<std::vector<Budget::State>>> budget_of(storage::Subject subject);

    /// \name For explanations: nothing is taken or reserved
    /// @{
    /// Whom a token stands for. Fails with Errc::not_found, and like `look_up`.
    core::Task<core::Result<AccountPtr>> account_of(core::TokenId token);
    /// What a token of the project would stand for that has no rules of its own. Fails with Errc::not_found, and with
    /// Errc::invalid_api_key while the project is disabled.
    core::Task<core::Result<AccountPtr>> account_of(core::ProjectId project);
    /// How the smallest request like `shape` would fare that may go to `places`.
    [[nodiscard]] Outlook outlook(const Account& account, std::string_view route, bool tunnel,
                                  const RequestShape& shape,
                                  std::span<const PricedPlace> places) const;
    /// @}

    /// For metrics.
    struct Stats {
        std::size_t tokens = 0;     ///< in memory
        std::size_t unknown = 0;    ///< hashes remembered as those of no token
        std::size_t standings = 0;  ///< tokens and projects whose spending is in memory
        std::size_t live = 0;       ///< requests and tunnels that are watched
    };
    [[nodiscard]] Stats stats() const;

    /// How much of one limit is spent.
    struct BudgetUse {
        storage::SubjectKind subject;
        std::string_view project;  ///< its name, or that of the token's
        storage::PeriodKind period;
        double share;  ///< of the limit; money or tokens, whichever is more
    };
    /// For metrics: shows each limit of every project and token whose requests were seen lately.
    void show_budgets(const std::function<void(const BudgetUse&)>& show) const;

private:
    friend class Grant;
    struct Rules;
    struct Parts;

    [[nodiscard]] std::shared_ptr<const Rules> rules() const;
    [[nodiscard]] std::shared_ptr<const Rules>
    make_rules(Settings settings, std::vector<StaticAccount> accounts) const;
    std::optional<core::Result<AccountPtr>> recall(const core::Sha256& hash, bool well_formed);
    core::Task<core::Result<AccountPtr>> load(core::Sha256 hash);
    core::Task<core::Result<std::shared_ptr<Standing>>> standing_of(storage::Subject subject);
    [[nodiscard]] core::Result<void> check_store() const;
    core::Failure refuse(const RateRefusal& refusal, storage::SubjectKind whose,
                         const Account& account, LimitedRoute route, std::string& fields) const;
    core::Result<void> take_tokens(Grant::State& state, std::int64_t most,
                                   std::string& fields) const;
    static core::Result<void> hold(Grant::State& state, Amount most);
    void count(Grant::State& state, Amount used) const;
    void tell(std::span<const SoftLimitReached> reached) const;

    std::unique_ptr<Parts> parts_;
    AccountPtr anonymous_;
};

}  // namespace llmproxy::accounts
