#pragma once

#include "gated_store.hpp"
#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/accounts/token_text.hpp"
#include "unit/storage/store_fixture.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::accounts::test {

/// What a test's task works on may outlive the statement that makes it.
inline core::Task<core::Result<Estimate>> reserve_task(Accounts& accounts, Grant& grant,
                                                       RequestShape shape, std::string model,
                                                       std::string& fields)
{
    const std::vector<PricedPlace> places{{model, "openai", "openai"}};
    const Demand demand(shape, places, model, false);
    co_return co_await accounts.reserve(grant, demand, fields);
}

/// Accounts over a real SQLite store, and a clock that stands still. Model `m` costs 1 and 10 nano-USD a token.
class AccountsFixture : public storage::test::StoreFixture {
protected:
    AccountsFixture()
    {
        open();
        PriceSettings price;
        price.model = "m";
        price.input = {1'000'000};
        price.output = {10'000'000};
        settings_.prices.push_back(price);
        settings_.budget.default_max_tokens = 50;
    }

    /// Begins, or begins anew, with what is in the store.
    void begin()
    {
        accounts_.reset();
        // Owned by the fixture below, which outlives this.
        gate_ = std::make_shared<GatedStore>(
            std::shared_ptr<storage::Store>(std::shared_ptr<void>(), &store()));
        Accounts::Options options;
        options.settings = settings_;
        options.static_accounts = static_accounts_;
        options.store = gate_;
        options.clock = clock_;
        options.on_soft_limit = [this](const SoftLimitReached& one) { reached_.push_back(one); };
        accounts_ = std::make_unique<Accounts>(std::move(options));
    }

    /// A token of a project, and its text.
    struct Token {
        storage::TokenRow row;
        std::string text;
    };
    Token make_token(core::ProjectId project, const std::string& name,
                     std::optional<core::SystemTime> expires = {})
    {
        const auto made = accounts::make_token();
        storage::TokenRow row;
        row.project = project;
        row.name = name;
        row.hash = made.hash;
        row.prefix = made.prefix;
        row.expires = expires;
        return {must(store().put_token(std::move(row), by("tester"))), made.text.reveal()};
    }
    void set_limits(storage::Subject subject, std::vector<storage::LimitRow> rows)
    {
        (void)must(store().set_limits(subject, 0, std::move(rows), by("tester")));
    }
    void set_budget(storage::Subject subject, storage::BudgetRow row)
    {
        (void)must(store().set_budgets(subject, 0, {std::move(row)}, by("tester")));
    }
    static storage::BudgetRow monthly(std::int64_t cost)
    {
        storage::BudgetRow row;
        row.cost = core::NanoUsd{cost};
        return row;
    }
    static storage::LimitRow per_minute(std::int64_t requests, std::string route = {})
    {
        storage::LimitRow row;
        row.route = std::move(route);
        row.requests_per_minute = requests;
        return row;
    }

    core::Result<AccountPtr> look_up(const std::string& text)
    {
        return wait(accounts_->look_up(text, core::Deadline()));
    }
    AccountPtr account_of(const Token& token)
    {
        auto found = look_up(token.text);
        EXPECT_TRUE(found) << found.error().describe();
        return found ? *found : nullptr;
    }
    core::Result<Grant> admit(const AccountPtr& account,
                              std::string_view route = "chat_completions", bool tunnel = false)
    {
        fields_.clear();
        Admission wanted;
        wanted.route = route;
        wanted.tunnel = tunnel;
        return accounts_->admit(account, wanted, fields_);
    }
    /// A body of so many bytes that asks for at most so many tokens of output.
    static RequestShape shape(std::uint64_t body, std::optional<std::uint64_t> output)
    {
        RequestShape shape;
        shape.body_bytes = body;
        shape.max_output_tokens = output;
        return shape;
    }
    core::Result<Estimate> reserve(Grant& grant, const RequestShape& wanted,
                                   const std::string& model = "m")
    {
        fields_.clear();
        return wait(reserve_task(*accounts_, grant, wanted, model, fields_));
    }
    /// An attempt that was answered and used so many tokens.
    static Attempt attempt(std::int64_t prompt, std::int64_t completion)
    {
        Attempt made;
        made.model = "m";
        made.provider = "openai";
        made.row.backend = "openai";
        made.row.requested_model = "m";
        made.row.status = 200;
        made.row.outcome = "ok";
        made.row.tokens.prompt = prompt;
        made.row.tokens.completion = completion;
        return made;
    }
    core::Result<void> settle(Grant& grant, std::vector<Attempt> attempts)
    {
        return wait(accounts_->settle(grant, std::move(attempts)));
    }
    Budget::State month_of(storage::Subject subject)
    {
        return must(accounts_->budget_of(subject)).at(2);
    }

    Settings settings_;
    std::vector<StaticAccount> static_accounts_;
    std::shared_ptr<GatedStore> gate_;
    std::unique_ptr<Accounts> accounts_;
    std::string fields_;
    std::vector<SoftLimitReached> reached_;
};

}  // namespace llmproxy::accounts::test
