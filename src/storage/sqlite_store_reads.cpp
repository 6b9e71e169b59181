#include "account_reads.hpp"
#include "backup.hpp"
#include "sqlite_store.hpp"
#include "usage_reads.hpp"

#include <utility>

namespace llmproxy::storage {

using core::Result;
using core::Task;

Task<Result<std::vector<LedgerRow>>> SqliteStore::ledger(Subject subject, core::SystemTime at)
{
    auto work = [subject, at](Database& database) { return read_ledger(database, subject, at); };
    return quick_.read(std::move(work));
}

Task<Result<Page<LedgerRow>>> SqliteStore::ledger_history(Subject subject, PeriodKind kind,
                                                          PageRequest page)
{
    auto work = [subject, kind, page = std::move(page)](Database& database) {
        return list_ledger(database, subject, kind, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<Page<UsageRow>>> SqliteStore::usage(UsageFilter filter, PageRequest page)
{
    auto work = [filter = std::move(filter), page = std::move(page)](Database& database) {
        return list_usage(database, filter, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<Page<UsageGroup>>> SqliteStore::usage_sums(UsageQuery query, PageRequest page)
{
    auto work = [query = std::move(query), page = std::move(page)](Database& database) {
        return sum_usage(database, query, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<std::optional<ProjectRow>>> SqliteStore::project(core::ProjectId id)
{
    auto work = [id](Database& database) { return find_project(database, id); };
    return quick_.read(std::move(work));
}

Task<Result<std::optional<ProjectRow>>> SqliteStore::project_named(std::string name)
{
    auto work = [name = std::move(name)](Database& database) {
        return find_project_named(database, name);
    };
    return quick_.read(std::move(work));
}

Task<Result<Page<ProjectRow>>> SqliteStore::projects(PageRequest page)
{
    auto work = [page = std::move(page)](Database& database) {
        return list_projects(database, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<std::optional<TokenRow>>> SqliteStore::token(core::TokenId id)
{
    auto work = [id](Database& database) { return find_token(database, id); };
    return quick_.read(std::move(work));
}

Task<Result<std::optional<TokenAccess>>> SqliteStore::access(TokenHash hash)
{
    auto work = [hash](Database& database) { return find_access(database, hash); };
    return quick_.read(std::move(work));
}

Task<Result<Page<TokenRow>>> SqliteStore::tokens(std::optional<core::ProjectId> project,
                                                 PageRequest page)
{
    auto work = [project, page = std::move(page)](Database& database) {
        return list_tokens(database, project, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<std::vector<LimitRow>>> SqliteStore::limits(Subject subject)
{
    auto work = [subject](Database& database) { return list_limits(database, subject); };
    return quick_.read(std::move(work));
}

Task<Result<std::vector<BudgetRow>>> SqliteStore::budgets(Subject subject)
{
    auto work = [subject](Database& database) { return list_budgets(database, subject); };
    return quick_.read(std::move(work));
}

Task<Result<std::optional<ProviderKeyRow>>> SqliteStore::provider_key(std::int64_t id)
{
    auto work = [id](Database& database) { return find_provider_key(database, id); };
    return quick_.read(std::move(work));
}

Task<Result<Page<ProviderKeyRow>>>
SqliteStore::provider_keys(std::optional<core::ProjectId> project, PageRequest page)
{
    auto work = [project, page = std::move(page)](Database& database) {
        return list_provider_keys(database, project, page);
    };
    return quick_.read(std::move(work));
}

Task<Result<std::optional<ResourceRow>>> SqliteStore::resource(core::ProjectId project,
                                                               std::string kind, std::string id)
{
    auto work = [project, kind = std::move(kind), id = std::move(id)](Database& database) {
        return find_resource(database, project, kind, id);
    };
    return quick_.read(std::move(work));
}

Task<Result<Page<ResourceRow>>> SqliteStore::resources(core::ProjectId project, std::string kind,
                                                       PageRequest page)
{
    auto work = [project, kind = std::move(kind), page = std::move(page)](Database& database) {
        return list_resources(database, project, kind, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<Page<AuditRow>>> SqliteStore::audit(AuditFilter filter, PageRequest page)
{
    auto work = [filter = std::move(filter), page = std::move(page)](Database& database) {
        return list_audit(database, filter, page);
    };
    return slow_.read(std::move(work));
}

Task<Result<void>> SqliteStore::upkeep()
{
    auto work = [this](Database& database) { return upkeep_.run(database); };
    return background_.read(std::move(work));
}

Task<Result<void>> SqliteStore::backup(std::string path)
{
    auto work = [path = std::move(path)](Database& database) {
        return copy_database(database, path);
    };
    return background_.read(std::move(work));
}

}  // namespace llmproxy::storage
