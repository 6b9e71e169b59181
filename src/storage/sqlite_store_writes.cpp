#include "account_writes.hpp"
#include "change_job.hpp"
#include "sqlite_store.hpp"

#include <utility>

namespace llmproxy::storage {

using core::Result;
using core::Task;

Task<Result<ProjectRow>> SqliteStore::put_project(ProjectRow row, AuditRow audit)
{
    auto change = [row = std::move(row), audit = std::move(audit)](WriteContext& context) mutable {
        return write_project(context, std::move(row), std::move(audit));
    };
    return run_change<ProjectRow>(*writer_, std::move(change));
}

Task<Result<bool>> SqliteStore::remove_project(core::ProjectId id, AuditRow audit)
{
    auto change = [id, audit = std::move(audit)](WriteContext& context) mutable {
        return delete_project(context, id, std::move(audit));
    };
    return run_change<bool>(*writer_, std::move(change));
}

Task<Result<TokenRow>> SqliteStore::put_token(TokenRow row, AuditRow audit)
{
    auto change = [row = std::move(row), audit = std::move(audit)](WriteContext& context) mutable {
        return write_token(context, std::move(row), std::move(audit));
    };
    return run_change<TokenRow>(*writer_, std::move(change));
}

Task<Result<bool>> SqliteStore::remove_token(core::TokenId id, AuditRow audit)
{
    auto change = [id, audit = std::move(audit)](WriteContext& context) mutable {
        return delete_token(context, id, std::move(audit));
    };
    return run_change<bool>(*writer_, std::move(change));
}

Task<Result<Version>> SqliteStore::set_limits(Subject subject, Version version,
                                              std::vector<LimitRow> rows, AuditRow audit)
{
    auto change = [subject, version, rows = std::move(rows),
                   audit = std::move(audit)](WriteContext& context) mutable {
        return write_limits(context, subject, version, rows, std::move(audit));
    };
    return run_change<Version>(*writer_, std::move(change));
}

Task<Result<Version>> SqliteStore::set_budgets(Subject subject, Version version,
                                               std::vector<BudgetRow> rows, AuditRow audit)
{
    auto change = [subject, version, rows = std::move(rows),
                   audit = std::move(audit)](WriteContext& context) mutable {
        return write_budgets(context, subject, version, rows, std::move(audit));
    };
    return run_change<Version>(*writer_, std::move(change));
}

Task<Result<ProviderKeyRow>> SqliteStore::put_provider_key(ProviderKeyRow row, AuditRow audit)
{
    auto change = [row = std::move(row), audit = std::move(audit)](WriteContext& context) mutable {
        return write_provider_key(context, std::move(row), std::move(audit));
    };
    return run_change<ProviderKeyRow>(*writer_, std::move(change));
}

Task<Result<void>> SqliteStore::replace_provider_keys(std::vector<ProviderKeyRow> rows,
                                                      AuditRow audit)
{
    auto change = [rows = std::move(rows),
                   audit = std::move(audit)](WriteContext& context) mutable {
        return rewrite_provider_keys(context, std::move(rows), std::move(audit));
    };
    return run_change<void>(*writer_, std::move(change));
}

Task<Result<bool>> SqliteStore::remove_provider_key(std::int64_t id, AuditRow audit)
{
    auto change = [id, audit = std::move(audit)](WriteContext& context) mutable {
        return delete_provider_key(context, id, std::move(audit));
    };
    return run_change<bool>(*writer_, std::move(change));
}

Task<Result<void>> SqliteStore::put_resource(ResourceRow row)
{
    auto change = [row = std::move(row)](WriteContext& context) mutable {
        return write_resource(context, row);
    };
    return run_change<void>(*writer_, std::move(change));
}

Task<Result<bool>> SqliteStore::remove_resource(core::ProjectId project, std::string kind,
                                                std::string id)
{
    auto change = [project, kind = std::move(kind),
                   id = std::move(id)](WriteContext& context) mutable {
        return delete_resource(context, project, kind, id);
    };
    return run_change<bool>(*writer_, std::move(change));
}

Task<Result<void>> SqliteStore::append_audit(AuditRow row)
{
    auto change = [row = std::move(row)](WriteContext& context) mutable {
        return write_audit(context, std::move(row));
    };
    return run_change<void>(*writer_, std::move(change));
}

}  // namespace llmproxy::storage
