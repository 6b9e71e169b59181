#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/storage/ledger.hpp"
#include "llmproxy/storage/reservation.hpp"
#include "llmproxy/storage/rows.hpp"
#include "llmproxy/storage/usage.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::storage {

/// How the store is. All but `ok` and `closed` are left without a restart once the cause is gone.
enum class StoreState : std::uint8_t { ok, busy, full, corrupt, read_only, failed, closed };

[[nodiscard]] std::string_view word_of(StoreState state) noexcept;

struct StoreHealth {
    StoreState state = StoreState::ok;
    std::string reason;  ///< for logs and operators; empty when ok
};

/// Figures for metrics; totals count from the start and never fall.
struct StoreStats {
    std::uint64_t queued = 0;              ///< writes that are not done yet
    std::uint64_t unsettled = 0;           ///< settlements that wait for the store to work again
    std::uint64_t reservations = 0;        ///< held now
    std::uint64_t commits = 0;             ///< transactions
    std::uint64_t writes = 0;              ///< what these transactions held
    std::uint64_t failures = 0;            ///< transactions that failed
    std::uint64_t commit_nanoseconds = 0;  ///< spent in transactions
    std::uint64_t checkpoints = 0;
    std::uint64_t checkpoint_nanoseconds = 0;  ///< spent in them; commits wait meanwhile
    std::uint64_t indeterminate = 0;  ///< reservations found at the start, or dropped since
};

/// All that one request cost: its attempts, and the reservation that they use up.
struct Settlement {
    Reservation reservation;     ///< may be empty: nothing was reserved
    std::vector<UsageRow> rows;  ///< of one request; none: it cost nothing

    Settlement() = default;
    Settlement(Reservation held, std::vector<UsageRow> attempts) noexcept
        : reservation(std::move(held)), rows(std::move(attempts))
    {
    }
};

/// Projects, tokens, limits, budgets, usage and what else must outlive the process. No policy.
///
/// Work is done by threads of its own; an awaiting coroutine goes on, on its own executor, when the
/// work is done: a write when it is durable as configured. No wait can be cancelled. A read is
/// given up after `query_timeout`. What everything can fail with: Errc::store_unavailable (busy,
/// full, corrupt, read-only, closed), Errc::overloaded (its queue is full), Errc::bad_request
/// (texts in lists that are not UTF-8, a cursor that is none). A change and its audit row are one
/// transaction.
///
/// Thread safety: every member may be called concurrently, from any coroutine. Lifetime: destroyed
/// after everybody has stopped awaiting it, before the contexts of those that did; destroying it
/// writes what was queued.
class Store {
public:
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    /// \name State
    /// @{
    /// Whether new work may begin. One atomic load.
    [[nodiscard]] virtual bool healthy() const noexcept = 0;
    [[nodiscard]] virtual StoreHealth health() const = 0;
    [[nodiscard]] virtual StoreStats stats() const noexcept = 0;
    /// @}

    /// \name Reservations and usage
    /// @{
    /// Notes a request that is about to be sent, so that it is accounted for whatever happens. With
    /// `durability: process` this takes no system call and does not suspend. Fails with
    /// Errc::overloaded when all slots are taken, and with Errc::store_unavailable while the store
    /// does not work: nothing may be sent then.
    virtual core::Task<core::Result<Reservation>> reserve(ReservationRecord record) = 0;

    /// Writes a request's rows and adds them to the ledgers of project and token, in one
    /// transaction, and gives the reservation back. A row that is there already (same request and
    /// attempt) is not written, nor added, again. Never refused for a full queue when it has a
    /// reservation. Fails with Errc::store_unavailable when it could not be written now; it is then
    /// kept, with its figures in the reservation's slot, and written as soon as the store works, or
    /// at the next start.
    virtual core::Task<core::Result<void>> settle(Settlement settlement) = 0;

    /// The sums of a subject for the four periods that hold `at`; those without a sum are left out.
    virtual core::Task<core::Result<std::vector<LedgerRow>>> ledger(Subject subject,
                                                                    core::SystemTime at) = 0;
    /// All sums of a subject for periods of a kind.
    virtual core::Task<core::Result<Page<LedgerRow>>>
    ledger_history(Subject subject, PeriodKind kind, PageRequest page) = 0;

    /// Rows by time. Those past `store.retention` are gone.
    virtual core::Task<core::Result<Page<UsageRow>>> usage(UsageFilter filter,
                                                           PageRequest page) = 0;
    /// Sums, ordered by what they are grouped by.
    virtual core::Task<core::Result<Page<UsageGroup>>> usage_sums(UsageQuery query,
                                                                  PageRequest page) = 0;
    /// @}

    /// \name Projects and tokens
    ///
    /// `put_` makes a new row when the id is none (it returns the row with its id), else changes
    /// the one with this id and version. Fails with Errc::conflict (a name or hash that is taken;
    /// `param` says which), Errc::not_found (no such row, no such project),
    /// Errc::precondition_failed (another version). `remove_` tells whether there was one.
    /// @{
    virtual core::Task<core::Result<ProjectRow>> put_project(ProjectRow row, AuditRow audit) = 0;
    /// Removes its tokens, keys, limits, budgets and resources too. Usage and ledger stay.
    virtual core::Task<core::Result<bool>> remove_project(core::ProjectId id, AuditRow audit) = 0;
    virtual core::Task<core::Result<std::optional<ProjectRow>>> project(core::ProjectId id) = 0;
    virtual core::Task<core::Result<std::optional<ProjectRow>>> project_named(std::string name) = 0;
    virtual core::Task<core::Result<Page<ProjectRow>>> projects(PageRequest page) = 0;

    virtual core::Task<core::Result<TokenRow>> put_token(TokenRow row, AuditRow audit) = 0;
    virtual core::Task<core::Result<bool>> remove_token(core::TokenId id, AuditRow audit) = 0;
    virtual core::Task<core::Result<std::optional<TokenRow>>> token(core::TokenId id) = 0;
    /// For the way of a request: one look-up on an index, beside slow reads.
    virtual core::Task<core::Result<std::optional<TokenAccess>>> access(TokenHash hash) = 0;
    virtual core::Task<core::Result<Page<TokenRow>>> tokens(std::optional<core::ProjectId> project,
                                                            PageRequest page) = 0;
    /// @}

    /// \name Limits and budgets
    ///
    /// `set_` replaces all rows of a subject and raises the subject's version, which must be
    /// `version` (0: any). Returns the new version. Fails like `put_token`.
    /// @{
    virtual core::Task<core::Result<Version>>
    set_limits(Subject subject, Version version, std::vector<LimitRow> rows, AuditRow audit) = 0;
    virtual core::Task<core::Result<std::vector<LimitRow>>> limits(Subject subject) = 0;
    virtual core::Task<core::Result<Version>>
    set_budgets(Subject subject, Version version, std::vector<BudgetRow> rows, AuditRow audit) = 0;
    virtual core::Task<core::Result<std::vector<BudgetRow>>> budgets(Subject subject) = 0;
    /// @}

    /// \name Provider keys
    /// @{
    virtual core::Task<core::Result<ProviderKeyRow>> put_provider_key(ProviderKeyRow row,
                                                                      AuditRow audit) = 0;
    /// Changes several rows in one transaction, each as `put_provider_key` would: all or none.
    virtual core::Task<core::Result<void>> replace_provider_keys(std::vector<ProviderKeyRow> rows,
                                                                 AuditRow audit) = 0;
    virtual core::Task<core::Result<bool>> remove_provider_key(std::int64_t id, AuditRow audit) = 0;
    virtual core::Task<core::Result<std::optional<ProviderKeyRow>>>
    provider_key(std::int64_t id) = 0;
    virtual core::Task<core::Result<Page<ProviderKeyRow>>>
    provider_keys(std::optional<core::ProjectId> project, PageRequest page) = 0;
    /// @}

    /// \name Resources kept by upstreams
    /// @{
    /// Adds or replaces.
    virtual core::Task<core::Result<void>> put_resource(ResourceRow row) = 0;
    virtual core::Task<core::Result<bool>> remove_resource(core::ProjectId project,
                                                           std::string kind, std::string id) = 0;
    virtual core::Task<core::Result<std::optional<ResourceRow>>>
    resource(core::ProjectId project, std::string kind, std::string id) = 0;
    virtual core::Task<core::Result<Page<ResourceRow>>>
    resources(core::ProjectId project, std::string kind, PageRequest page) = 0;
    /// @}

    /// \name Audit
    /// @{
    /// For what is no change of a row: a reload, a drain.
    virtual core::Task<core::Result<void>> append_audit(AuditRow row) = 0;
    virtual core::Task<core::Result<Page<AuditRow>>> audit(AuditFilter filter,
                                                           PageRequest page) = 0;
    /// @}

    /// Makes the sums that are due and deletes what is too old. Happens by itself too.
    virtual core::Task<core::Result<void>> upkeep() = 0;

    /// Copies the store, as it is at one moment, to a new file while work goes on. Fails with
    /// Errc::conflict when the file exists; nothing is left behind then or after any other failure.
    virtual core::Task<core::Result<void>> backup(std::string path) = 0;
};

}  // namespace llmproxy::storage
