#include "account_writes.hpp"

#include "sql_text.hpp"
#include "values.hpp"
#include "write_parts.hpp"

#include <utility>

namespace llmproxy::storage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

core::Result<void> check_lists(const Grants& grants)
{
    const std::pair<const char*, const std::vector<std::string>*> lists[] = {
        {"models", &grants.models}, {"hosts", &grants.hosts}, {"routes", &grants.routes}};
    for (const auto& [name, list] : lists) {
        if (!encode_list(*list)) {
            return Failure(Errc::bad_request, Origin::client, "texts must be UTF-8").at(name);
        }
    }
    return {};
}

constexpr auto kInsertProject =
    join("INSERT INTO projects(", kProjectColumns, ") VALUES(?,?,?,?,?,?,?,?)");
constexpr char kUpdateProject[] =
    "UPDATE projects SET version = version + 1, name = ?, models = ?, hosts = ?, routes = ?, "
    "enabled = ?, updated = ? WHERE id = ? AND ifnull(?, version) = version "
    "RETURNING version, created";
constexpr auto kInsertToken =
    join("INSERT INTO tokens(", kTokenColumns, ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?)");
constexpr char kUpdateToken[] =
    "UPDATE tokens SET version = version + 1, name = ?, hash = ?, prefix = ?, models = ?, "
    "hosts = ?, routes = ?, updated = ?, expires = ?, revoked = ? "
    "WHERE id = ? AND ifnull(?, version) = version RETURNING version, created, project";
constexpr auto kInsertProviderKey =
    join("INSERT INTO provider_keys(", kProviderKeyColumns, ") VALUES(?,?,?,?,?,?,?,?,?)");
constexpr char kUpdateProviderKey[] =
    "UPDATE provider_keys SET version = version + 1, backend = ?, name = ?, master_key = ?, "
    "sealed = ?, hint = ?, updated = ? WHERE id = ? AND ifnull(?, version) = version "
    "RETURNING version, created, project";

template <typename Row, std::size_t N>
core::Result<std::int64_t> insert(WriteContext& context, Row& row,
                                  const std::array<char, N>& statement)
{
    row.version = 1;
    row.created = row.updated = from_milliseconds(to_milliseconds(context.now));
    Query query(context.database, statement.data());
    bind_row(query, row);
    if (auto done = run(context.database, query); !done) {
        return done.error();
    }
    return context.database.last_id();
}

/// Ends an update that returns `version, created` and more. False: no row had the id and version.
template <typename Row, typename... More>
core::Result<bool> finish_update(WriteContext& context, Query& query, Row& row, More&... more)
{
    if (!query.next()) {
        return query.failed() ? core::Result<bool>(explained(context.database, query.failure()))
                              : core::Result<bool>(false);
    }
    read_all(query, row.version, row.created, more...);
    row.updated = from_milliseconds(to_milliseconds(context.now));
    if (auto done = run(context.database, query); !done) {
        return done.error();
    }
    return true;
}

core::Result<bool> update(WriteContext& context, ProjectRow& row)
{
    const auto id = row.id;
    const auto version = expected(row.version);
    Query query(context.database, kUpdateProject);
    bind_all(query, row.name, row.grants.models, row.grants.hosts, row.grants.routes, row.enabled,
             context.now, id, version);
    return finish_update(context, query, row);
}

core::Result<bool> update(WriteContext& context, TokenRow& row)
{
    const auto version = expected(row.version);
    Query query(context.database, kUpdateToken);
    bind_all(query, row.name, row.hash, row.prefix, row.grants.models, row.grants.hosts,
             row.grants.routes, context.now, row.expires, row.revoked, row.id, version);
    return finish_update(context, query, row, row.project);
}

core::Result<bool> update(WriteContext& context, ProviderKeyRow& row)
{
    const auto version = expected(row.version);
    Query query(context.database, kUpdateProviderKey);
    bind_all(query, row.backend, row.name, row.master_key, BlobOf(row.sealed), row.hint,
             context.now, row.id, version);
    return finish_update(context, query, row, row.project);
}

/// Inserts or updates, by whether the row has an id.
template <typename Row, std::size_t N, std::size_t M>
core::Result<void> put(WriteContext& context, Row& row, const std::array<char, N>& statement,
                       const char (&exists)[M], const char* what)
{
    using Id = decltype(row.id);
    if (row.id == Id{}) {
        const auto id = insert(context, row, statement);
        if (!id) {
            return id.error();
        }
        row.id = static_cast<Id>(*id);
        return {};
    }
    const auto changed = update(context, row);
    if (!changed) {
        return changed.error();
    }
    if (!*changed) {
        return not_changed(context.database, exists, static_cast<std::int64_t>(row.id), what);
    }
    return {};
}

/// Runs statements whose one value is the id, in turn; the last one tells whether there was
/// something.
template <std::size_t N>
core::Result<bool> run_all(Database& database, const char* const (&statements)[N], std::int64_t id)
{
    core::Result<bool> removed = false;
    for (const auto* statement : statements) {
        Query query(database, statement);
        query.put(id);
        removed = run_delete(database, query);
        if (!removed) {
            break;
        }
    }
    return removed;
}

/// Notes a removal if there was one.
core::Result<bool> removed(WriteContext& context, core::Result<bool> done, AuditRow audit,
                           std::int64_t id)
{
    if (done && *done) {
        if (auto noted = note(context, std::move(audit), id); !noted) {
            return noted.error();
        }
    }
    return done;
}

}  // namespace

core::Result<ProjectRow> write_project(WriteContext& context, ProjectRow row, AuditRow audit)
{
    if (auto checked = check_lists(row.grants); !checked) {
        return checked.error();
    }
    if (auto done = put(context, row, kInsertProject, kProjectExists, "project"); !done) {
        return done.error();
    }
    if (auto noted = note(context, std::move(audit), static_cast<std::int64_t>(row.id)); !noted) {
        return noted.error();
    }
    return row;
}

core::Result<TokenRow> write_token(WriteContext& context, TokenRow row, AuditRow audit)
{
    if (auto checked = check_lists(row.grants); !checked) {
        return checked.error();
    }
    if (auto done = put(context, row, kInsertToken, kTokenExists, "token"); !done) {
        return done.error();
    }
    if (auto noted = note(context, std::move(audit), static_cast<std::int64_t>(row.id)); !noted) {
        return noted.error();
    }
    return row;
}

core::Result<ProviderKeyRow> write_provider_key(WriteContext& context, ProviderKeyRow row,
                                                AuditRow audit)
{
    if (auto done = put(context, row, kInsertProviderKey, kProviderKeyExists, "provider key");
        !done) {
        return done.error();
    }
    if (auto noted = note(context, std::move(audit), row.id); !noted) {
        return noted.error();
    }
    return row;
}

core::Result<void> rewrite_provider_keys(WriteContext& context, std::vector<ProviderKeyRow> rows,
                                         AuditRow audit)
{
    for (auto& row : rows) {
        if (auto done = put(context, row, kInsertProviderKey, kProviderKeyExists, "provider key");
            !done) {
            return done;
        }
    }
    return write_audit(context, std::move(audit));
}

core::Result<bool> delete_project(WriteContext& context, core::ProjectId id, AuditRow audit)
{
    static constexpr const char* kStatements[] = {
        "DELETE FROM limits WHERE subject_kind = 2 AND subject IN "
        "(SELECT id FROM tokens WHERE project = ?)",
        "DELETE FROM budgets WHERE subject_kind = 2 AND subject IN "
        "(SELECT id FROM tokens WHERE project = ?)",
        "DELETE FROM limits WHERE subject_kind = 1 AND subject = ?",
        "DELETE FROM budgets WHERE subject_kind = 1 AND subject = ?",
        "DELETE FROM tokens WHERE project = ?",
        "DELETE FROM provider_keys WHERE project = ?",
        "DELETE FROM resources WHERE project = ?",
        "DELETE FROM projects WHERE id = ?",
    };
    const auto number = static_cast<std::int64_t>(id);
    return removed(context, run_all(context.database, kStatements, number), std::move(audit),
                   number);
}

core::Result<bool> delete_token(WriteContext& context, core::TokenId id, AuditRow audit)
{
    static constexpr const char* kStatements[] = {
        "DELETE FROM limits WHERE subject_kind = 2 AND subject = ?",
        "DELETE FROM budgets WHERE subject_kind = 2 AND subject = ?",
        "DELETE FROM tokens WHERE id = ?",
    };
    const auto number = static_cast<std::int64_t>(id);
    return removed(context, run_all(context.database, kStatements, number), std::move(audit),
                   number);
}

core::Result<bool> delete_provider_key(WriteContext& context, std::int64_t id, AuditRow audit)
{
    static constexpr const char* kStatements[] = {"DELETE FROM provider_keys WHERE id = ?"};
    return removed(context, run_all(context.database, kStatements, id), std::move(audit), id);
}

core::Result<void> write_resource(WriteContext& context, const ResourceRow& row)
{
    static constexpr auto kPut =
        join("INSERT INTO resources(", kResourceColumns,
             ") VALUES(?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET token = excluded.token, "
             "backend = excluded.backend, key = excluded.key, created = excluded.created, "
             "expires = excluded.expires");
    Query query(context.database, kPut.data());
    bind_row(query, row);
    return run(context.database, query);
}

core::Result<bool> delete_resource(WriteContext& context, core::ProjectId project,
                                   const std::string& kind, const std::string& id)
{
    Query query(context.database,
                "DELETE FROM resources WHERE project = ? AND kind = ? AND id = ?");
    bind_all(query, project, kind, id);
    return run_delete(context.database, query);
}

core::Result<void> write_audit(WriteContext& context, AuditRow row)
{
    static constexpr auto kInsert =
        join("INSERT INTO audit(", kAuditColumns, ") VALUES(?,?,?,?,?,?,?,?)");
    row.time = context.now;
    Query query(context.database, kInsert.data());
    bind_row(query, row);
    return query.run();
}

}  // namespace llmproxy::storage
