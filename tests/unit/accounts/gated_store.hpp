#pragma once

#include "llmproxy/storage/store.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

namespace llmproxy::accounts::test {

using namespace storage;
using core::Result;
using core::Task;

/// A store that hands everything on to another, counts what it is asked for, and can be told to be in trouble.
class GatedStore final : public Store {
public:
    explicit GatedStore(std::shared_ptr<Store> real) : real_(std::move(real)) {}

    std::atomic<bool> works{true};       ///< what `healthy` says
    std::atomic<bool> reads{true};       ///< false: `access` fails
    std::atomic<bool> settles{true};     ///< false: `settle` fails, its rows are lost
    std::atomic<int> look_ups{0};        ///< calls of `access`
    std::atomic<int> ledgers{0};         ///< calls of `ledger`
    std::function<void()> after_access;  ///< runs between the answer of `access` and its return

    bool healthy() const noexcept override { return works && real_->healthy(); }
    StoreHealth health() const override
    {
        return works ? real_->health() : StoreHealth{StoreState::full, "no space"};
    }
    StoreStats stats() const noexcept override { return real_->stats(); }
    Task<Result<Reservation>> reserve(ReservationRecord record) override
    {
        return real_->reserve(std::move(record));
    }
    Task<Result<void>> settle(Settlement settlement) override
    {
        if (!settles) {
            settlement.reservation.cancel();
            return failing();
        }
        return real_->settle(std::move(settlement));
    }
    Task<Result<std::vector<LedgerRow>>> ledger(Subject subject, core::SystemTime at) override
    {
        ++ledgers;
        return real_->ledger(subject, at);
    }
    Task<Result<std::optional<TokenAccess>>> access(TokenHash hash) override
    {
        ++look_ups;
        if (!reads) {
            co_return core::Failure(core::Errc::store_unavailable, core::Origin::self, "no store");
        }
        auto found = co_await real_->access(hash);
        if (after_access) {
            after_access();
        }
        co_return std::move(found);
    }

    Task<Result<Page<LedgerRow>>> ledger_history(Subject subject, PeriodKind kind,
                                                 PageRequest page) override
    {
        return real_->ledger_history(subject, kind, std::move(page));
    }
    Task<Result<Page<UsageRow>>> usage(UsageFilter filter, PageRequest page) override
    {
        return real_->usage(std::move(filter), std::move(page));
    }
    Task<Result<Page<UsageGroup>>> usage_sums(UsageQuery query, PageRequest page) override
    {
        return real_->usage_sums(std::move(query), std::move(page));
    }
    Task<Result<ProjectRow>> put_project(ProjectRow row, AuditRow audit) override
    {
        return real_->put_project(std::move(row), std::move(audit));
    }
    Task<Result<bool>> remove_project(core::ProjectId id, AuditRow audit) override
    {
        return real_->remove_project(id, std::move(audit));
    }
    Task<Result<std::optional<ProjectRow>>> project(core::ProjectId id) override
    {
        return real_->project(id);
    }
    Task<Result<std::optional<ProjectRow>>> project_named(std::string name) override
    {
        return real_->project_named(std::move(name));
    }
    Task<Result<Page<ProjectRow>>> projects(PageRequest page) override
    {
        return real_->projects(std::move(page));
    }
    Task<Result<TokenRow>> put_token(TokenRow row, AuditRow audit) override
    {
        return real_->put_token(std::move(row), std::move(audit));
    }
    Task<Result<bool>> remove_token(core::TokenId id, AuditRow audit) override
    {
        return real_->remove_token(id, std::move(audit));
    }
    Task<Result<std::optional<TokenRow>>> token(core::TokenId id) override
    {
        return real_->token(id);
    }
    Task<Result<Page<TokenRow>>> tokens(std::optional<core::ProjectId> project,
                                        PageRequest page) override
    {
        return real_->tokens(project, std::move(page));
    }
    Task<Result<Version>> set_limits(Subject subject, Version version, std::vector<LimitRow> rows,
                                     AuditRow audit) override
    {
        return real_->set_limits(subject, version, std::move(rows), std::move(audit));
    }
    Task<Result<std::vector<LimitRow>>> limits(Subject subject) override
    {
        return real_->limits(subject);
    }
    Task<Result<Version>> set_budgets(Subject subject, Version version, std::vector<BudgetRow> rows,
                                      AuditRow audit) override
    {
        return real_->set_budgets(subject, version, std::move(rows), std::move(audit));
    }
    Task<Result<std::vector<BudgetRow>>> budgets(Subject subject) override
    {
        return real_->budgets(subject);
    }
    Task<Result<ProviderKeyRow>> put_provider_key(ProviderKeyRow row, AuditRow audit) override
    {
        return real_->put_provider_key(std::move(row), std::move(audit));
    }
    Task<Result<void>> replace_provider_keys(std::vector<ProviderKeyRow> rows,
                                             AuditRow audit) override
    {
        return real_->replace_provider_keys(std::move(rows), std::move(audit));
    }
    Task<Result<bool>> remove_provider_key(std::int64_t id, AuditRow audit) override
    {
        return real_->remove_provider_key(id, std::move(audit));
    }
    Task<Result<std::optional<ProviderKeyRow>>> provider_key(std::int64_t id) override
    {
        return real_->provider_key(id);
    }
    Task<Result<Page<ProviderKeyRow>>> provider_keys(std::optional<core::ProjectId> project,
                                                     PageRequest page) override
    {
        return real_->provider_keys(project, std::move(page));
    }
    Task<Result<void>> put_resource(ResourceRow row) override
    {
        return real_->put_resource(std::move(row));
    }
    Task<Result<bool>> remove_resource(core::ProjectId project, std::string kind,
                                       std::string id) override
    {
        return real_->remove_resource(project, std::move(kind), std::move(id));
    }
    Task<Result<std::optional<ResourceRow>>> resource(core::ProjectId project, std::string kind,
                                                      std::string id) override
    {
        return real_->resource(project, std::move(kind), std::move(id));
    }
    Task<Result<Page<ResourceRow>>> resources(core::ProjectId project, std::string kind,
                                              PageRequest page) override
    {
        return real_->resources(project, std::move(kind), std::move(page));
    }
    Task<Result<void>> append_audit(AuditRow row) override
    {
        return real_->append_audit(std::move(row));
    }
    Task<Result<Page<AuditRow>>> audit(AuditFilter filter, PageRequest page) override
    {
        return real_->audit(std::move(filter), std::move(page));
    }
    Task<Result<void>> upkeep() override { return real_->upkeep(); }
    Task<Result<void>> backup(std::string path) override { return real_->backup(std::move(path)); }

private:
    static Task<Result<void>> failing()
    {
        co_return core::Failure(core::Errc::store_unavailable, core::Origin::self, "no space");
    }

    std::shared_ptr<Store> real_;
};

}  // namespace llmproxy::accounts::test
