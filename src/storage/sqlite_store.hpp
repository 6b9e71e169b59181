#pragma once

#include "llmproxy/storage/sqlite_store.hpp"

#include "journal_syncer.hpp"
#include "lock_file.hpp"
#include "read_lane.hpp"
#include "settlement_job.hpp"
#include "upkeep.hpp"
#include "writer.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace llmproxy::storage {

/// Store on SQLite: a thread that writes, one for look-ups on the way of requests, one for lists
/// and sums, one for upkeep and backups; with `durability: power` one more that syncs the journal.
class SqliteStore final : public Store {
public:
    [[nodiscard]] static core::Result<std::shared_ptr<Store>> open(SqliteOptions options);
    ~SqliteStore() override;

    [[nodiscard]] bool healthy() const noexcept override { return writer_->healthy(); }
    [[nodiscard]] StoreHealth health() const override { return writer_->health(); }
    [[nodiscard]] StoreStats stats() const noexcept override;

    core::Task<core::Result<Reservation>> reserve(ReservationRecord record) override;
    core::Task<core::Result<void>> settle(Settlement settlement) override;
    core::Task<core::Result<std::vector<LedgerRow>>> ledger(Subject subject,
                                                            core::SystemTime at) override;
    core::Task<core::Result<Page<LedgerRow>>> ledger_history(Subject subject, PeriodKind kind,
                                                             PageRequest page) override;
    core::Task<core::Result<Page<UsageRow>>> usage(UsageFilter filter, PageRequest page) override;
    core::Task<core::Result<Page<UsageGroup>>> usage_sums(UsageQuery query,
                                                          PageRequest page) override;

    core::Task<core::Result<ProjectRow>> put_project(ProjectRow row, AuditRow audit) override;
    core::Task<core::Result<bool>> remove_project(core::ProjectId id, AuditRow audit) override;
    core::Task<core::Result<std::optional<ProjectRow>>> project(core::ProjectId id) override;
    core::Task<core::Result<std::optional<ProjectRow>>> project_named(std::string name) override;
    core::Task<core::Result<Page<ProjectRow>>> projects(PageRequest page) override;
    core::Task<core::Result<TokenRow>> put_token(TokenRow row, AuditRow audit) override;
    core::Task<core::Result<bool>> remove_token(core::TokenId id, AuditRow audit) override;
    core::Task<core::Result<std::optional<TokenRow>>> token(core::TokenId id) override;
    core::Task<core::Result<std::optional<TokenAccess>>> access(TokenHash hash) override;
    core::Task<core::Result<Page<TokenRow>>> tokens(std::optional<core::ProjectId> project,
                                                    PageRequest page) override;

    core::Task<core::Result<Version>> set_limits(Subject subject, Version version,
                                                 std::vector<LimitRow> rows,
                                                 AuditRow audit) override;
    core::Task<core::Result<std::vector<LimitRow>>> limits(Subject subject) override;
    core::Task<core::Result<Version>> set_budgets(Subject subject, Version version,
                                                  std::vector<BudgetRow> rows,
                                                  AuditRow audit) override;
    core::Task<core::Result<std::vector<BudgetRow>>> budgets(Subject subject) override;

    core::Task<core::Result<ProviderKeyRow>> put_provider_key(ProviderKeyRow row,
                                                              AuditRow audit) override;
    core::Task<core::Result<void>> replace_provider_keys(std::vector<ProviderKeyRow> rows,
                                                         AuditRow audit) override;
    core::Task<core::Result<bool>> remove_provider_key(std::int64_t id, AuditRow audit) override;
    core::Task<core::Result<std::optional<ProviderKeyRow>>> provider_key(std::int64_t id) override;
    core::Task<core::Result<Page<ProviderKeyRow>>>
    provider_keys(std::optional<core::ProjectId> project, PageRequest page) override;

    core::Task<core::Result<void>> put_resource(ResourceRow row) override;
    core::Task<core::Result<bool>> remove_resource(core::ProjectId project, std::string kind,
                                                   std::string id) override;
    core::Task<core::Result<std::optional<ResourceRow>>>
    resource(core::ProjectId project, std::string kind, std::string id) override;
    core::Task<core::Result<Page<ResourceRow>>> resources(core::ProjectId project, std::string kind,
                                                          PageRequest page) override;

    core::Task<core::Result<void>> append_audit(AuditRow row) override;
    core::Task<core::Result<Page<AuditRow>>> audit(AuditFilter filter, PageRequest page) override;
    core::Task<core::Result<void>> upkeep() override;
    core::Task<core::Result<void>> backup(std::string path) override;

private:
    class Keeper;

    SqliteStore(const SqliteOptions& options, LockFile lock,
                std::shared_ptr<ReservationJournal> journal, std::shared_ptr<Writer> writer);

    const LockFile lock_;
    const std::shared_ptr<ReservationJournal> journal_;
    const std::shared_ptr<Writer> writer_;
    const std::shared_ptr<Keeper> keeper_;
    std::optional<JournalSyncer> syncer_;
    Upkeep upkeep_;
    ReadLane quick_;
    ReadLane slow_;
    ReadLane background_;
};

}  // namespace llmproxy::storage
