#include "account_reads.hpp"

#include "paging.hpp"
#include "sql_text.hpp"
#include "values.hpp"

namespace llmproxy::storage {
namespace {

constexpr auto kProjectById = join("SELECT id, ", kProjectColumns, " FROM projects WHERE id = ?");
constexpr auto kProjectByName =
    join("SELECT id, ", kProjectColumns, " FROM projects WHERE name = ?");
constexpr auto kProjectsUp =
    join("SELECT id, ", kProjectColumns, " FROM projects WHERE id > ? ORDER BY id LIMIT ?");
constexpr auto kProjectsDown =
    join("SELECT id, ", kProjectColumns, " FROM projects WHERE id < ? ORDER BY id DESC LIMIT ?");
constexpr auto kTokenById = join("SELECT id, ", kTokenColumns, " FROM tokens WHERE id = ?");
constexpr auto kTokenByHash = join("SELECT id, ", kTokenColumns, " FROM tokens WHERE hash = ?");
constexpr auto kTokensUp =
    join("SELECT id, ", kTokenColumns, " FROM tokens WHERE id > ? ORDER BY id LIMIT ?");
constexpr auto kTokensDown =
    join("SELECT id, ", kTokenColumns, " FROM tokens WHERE id < ? ORDER BY id DESC LIMIT ?");
constexpr auto kTokensOfUp = join("SELECT id, ", kTokenColumns,
                                  " FROM tokens WHERE project = ? AND id > ? ORDER BY id LIMIT ?");
constexpr auto kTokensOfDown =
    join("SELECT id, ", kTokenColumns,
         " FROM tokens WHERE project = ? AND id < ? ORDER BY id DESC LIMIT ?");
constexpr auto kLimits = join("SELECT ", kLimitColumns,
                              " FROM limits WHERE subject_kind = ? AND subject = ? ORDER BY route");
constexpr auto kBudgets =
    join("SELECT ", kBudgetColumns,
         " FROM budgets WHERE subject_kind = ? AND subject = ? ORDER BY period");
constexpr auto kProviderKeyById =
    join("SELECT id, ", kProviderKeyColumns, " FROM provider_keys WHERE id = ?");
constexpr auto kProviderKeysUp =
    join("SELECT id, ", kProviderKeyColumns,
         " FROM provider_keys WHERE id > ? AND ifnull(?, project) = project ORDER BY id LIMIT ?");
constexpr auto kProviderKeysDown = join(
    "SELECT id, ", kProviderKeyColumns,
    " FROM provider_keys WHERE id < ? AND ifnull(?, project) = project ORDER BY id DESC LIMIT ?");
constexpr auto kResource =
    join("SELECT ", kResourceColumns, " FROM resources WHERE project = ? AND kind = ? AND id = ?");
constexpr auto kResourcesUp =
    join("SELECT ", kResourceColumns,
         " FROM resources WHERE project = ? AND kind = ? AND id > ? ORDER BY id LIMIT ?");
constexpr auto kResourcesDown =
    join("SELECT ", kResourceColumns,
         " FROM resources WHERE project = ? AND kind = ? AND id < ifnull(?, x'') "
         "ORDER BY id DESC LIMIT ?");
constexpr char kAuditWhere[] =
    " AND time >= ? AND time < ? AND ifnull(?, actor) = actor AND ifnull(?, action) = action "
    "AND ifnull(?, target_kind) = target_kind AND ifnull(?, target) = target ";
constexpr auto kAuditUp = join("SELECT id, ", kAuditColumns, " FROM audit WHERE id > ?",
                               kAuditWhere, "ORDER BY id LIMIT ?");
constexpr auto kAuditDown = join("SELECT id, ", kAuditColumns, " FROM audit WHERE id < ?",
                                 kAuditWhere, "ORDER BY id DESC LIMIT ?");

/// A row whose first column is its id.
template <typename Row>
void read_with_id(Query& query, Row& row)
{
    read_all(query, row.id);
    read_row(query, row);
}

template <typename Row>
std::string id_cursor(const Row& row)
{
    return std::to_string(static_cast<std::int64_t>(row.id));
}

template <typename Row>
core::Result<std::optional<Row>> one(Query& query)
{
    std::optional<Row> row;
    if (query.next()) {
        read_with_id(query, row.emplace());
    }
    return query.unless_failed(std::move(row));
}

template <typename Row>
core::Result<std::vector<Row>> rows_of_subject(Database& database, const char* sql, Subject subject)
{
    Query query(database, sql);
    bind_all(query, subject.kind, subject.id);
    std::vector<Row> rows;
    while (query.next()) {
        read_row(query, rows.emplace_back());
    }
    return query.unless_failed(std::move(rows));
}

/// Fills `target`, or returns the failure.
template <typename T>
core::Result<void> into(T& target, core::Result<T> found)
{
    if (!found) {
        return found.error();
    }
    target = std::move(*found);
    return {};
}

core::Result<std::optional<TokenAccess>> complete(Database& database, TokenRow token)
{
    auto project = find_project(database, token.project);
    if (!project) {
        return project.error();
    }
    if (!*project) {
        return std::optional<TokenAccess>();
    }
    TokenAccess access;
    const Subject of_project = token.project;
    const Subject of_token = token.id;
    access.token = std::move(token);
    access.project = std::move(**project);
    auto done = into(access.token_limits, list_limits(database, of_token));
    if (done) {
        done = into(access.project_limits, list_limits(database, of_project));
    }
    if (done) {
        done = into(access.token_budgets, list_budgets(database, of_token));
    }
    if (done) {
        done = into(access.project_budgets, list_budgets(database, of_project));
    }
    if (!done) {
        return done.error();
    }
    return std::optional(std::move(access));
}

}  // namespace

core::Result<std::optional<ProjectRow>> find_project(Database& database, core::ProjectId id)
{
    Query query(database, kProjectById.data());
    bind_all(query, id);
    return one<ProjectRow>(query);
}

core::Result<std::optional<ProjectRow>> find_project_named(Database& database,
                                                           const std::string& name)
{
    Query query(database, kProjectByName.data());
    bind_all(query, name);
    return one<ProjectRow>(query);
}

core::Result<Page<ProjectRow>> list_projects(Database& database, const PageRequest& page)
{
    const auto after = number_cursor(page);
    if (!after) {
        return after.error();
    }
    Query query(database, page.newest_first ? kProjectsDown.data() : kProjectsUp.data());
    bind_all(query, *after, rows_of(page) + 1);
    return read_page<ProjectRow>(query, page, read_with_id<ProjectRow>, id_cursor<ProjectRow>);
}

core::Result<std::optional<TokenRow>> find_token(Database& database, core::TokenId id)
{
    Query query(database, kTokenById.data());
    bind_all(query, id);
    return one<TokenRow>(query);
}

core::Result<std::optional<TokenAccess>> find_access(Database& database, const TokenHash& hash)
{
    Transaction moment(database, "BEGIN");
    if (!moment.begun()) {
        return moment.begun().error();
    }
    core::Result<std::optional<TokenRow>> token = std::optional<TokenRow>();
    {
        Query query(database, kTokenByHash.data());
        bind_all(query, hash);
        token = one<TokenRow>(query);
    }
    if (!token) {
        return token.error();
    }
    if (!*token) {
        return std::optional<TokenAccess>();
    }
    return complete(database, std::move(**token));
}

core::Result<Page<TokenRow>> list_tokens(Database& database, std::optional<core::ProjectId> project,
                                         const PageRequest& page)
{
    const auto after = number_cursor(page);
    if (!after) {
        return after.error();
    }
    const char* of_project = page.newest_first ? kTokensOfDown.data() : kTokensOfUp.data();
    const char* of_all = page.newest_first ? kTokensDown.data() : kTokensUp.data();
    Query query(database, project ? of_project : of_all);
    if (project) {
        bind_all(query, *project);
    }
    bind_all(query, *after, rows_of(page) + 1);
    return read_page<TokenRow>(query, page, read_with_id<TokenRow>, id_cursor<TokenRow>);
}

core::Result<std::vector<LimitRow>> list_limits(Database& database, Subject subject)
{
    return rows_of_subject<LimitRow>(database, kLimits.data(), subject);
}

core::Result<std::vector<BudgetRow>> list_budgets(Database& database, Subject subject)
{
    return rows_of_subject<BudgetRow>(database, kBudgets.data(), subject);
}

core::Result<std::optional<ProviderKeyRow>> find_provider_key(Database& database, std::int64_t id)
{
    Query query(database, kProviderKeyById.data());
    bind_all(query, id);
    return one<ProviderKeyRow>(query);
}

core::Result<Page<ProviderKeyRow>> list_provider_keys(Database& database,
                                                      std::optional<core::ProjectId> project,
                                                      const PageRequest& page)
{
    const auto after = number_cursor(page);
    if (!after) {
        return after.error();
    }
    Query query(database, page.newest_first ? kProviderKeysDown.data() : kProviderKeysUp.data());
    bind_all(query, *after, project, rows_of(page) + 1);
    return read_page<ProviderKeyRow>(query, page, read_with_id<ProviderKeyRow>,
                                     id_cursor<ProviderKeyRow>);
}

core::Result<std::optional<ResourceRow>> find_resource(Database& database, core::ProjectId project,
                                                       const std::string& kind,
                                                       const std::string& id)
{
    Query query(database, kResource.data());
    bind_all(query, project, kind, id);
    std::optional<ResourceRow> row;
    if (query.next()) {
        read_row(query, row.emplace());
    }
    return query.unless_failed(std::move(row));
}

core::Result<Page<ResourceRow>> list_resources(Database& database, core::ProjectId project,
                                               const std::string& kind, const PageRequest& page)
{
    Query query(database, page.newest_first ? kResourcesDown.data() : kResourcesUp.data());
    bind_all(query, project, kind);
    if (page.newest_first && page.cursor.empty()) {
        query.put_null();  // any text sorts below a BLOB
    } else {
        bind_all(query, page.cursor);
    }
    bind_all(query, rows_of(page) + 1);
    return read_page<ResourceRow>(query, page, read_row<ResourceRow>,
                                  [](const ResourceRow& row) { return row.id; });
}

core::Result<Page<AuditRow>> list_audit(Database& database, const AuditFilter& filter,
                                        const PageRequest& page)
{
    const auto after = number_cursor(page);
    if (!after) {
        return after.error();
    }
    Query query(database, page.newest_first ? kAuditDown.data() : kAuditUp.data());
    bind_all(query, *after, filter.from, filter.to, filter.actor, filter.action, filter.target_kind,
             filter.target, rows_of(page) + 1);
    return read_page<AuditRow>(query, page, read_with_id<AuditRow>, id_cursor<AuditRow>);
}

}  // namespace llmproxy::storage
