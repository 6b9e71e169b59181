#include "write_parts.hpp"

#include "account_writes.hpp"

#include <sqlite3.h>

#include <utility>

namespace llmproxy::storage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

Failure no_such(std::string what)
{
    return Failure(Errc::not_found, Origin::client, "no such " + what);
}

}  // namespace

std::optional<Version> expected(Version version) noexcept
{
    return version == 0 ? std::nullopt : std::optional(version);
}

core::Failure explained(Database& database, const Failure& failure)
{
    switch (database.error_code()) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY: {
        const std::string text = sqlite3_errmsg(database.handle());
        Failure conflict(Errc::conflict, Origin::client, text);
        conflict.at(text.substr(text.rfind('.') + 1));
        return conflict;
    }
    case SQLITE_CONSTRAINT_FOREIGNKEY: return no_such("project").at("project");
    default: return failure;
    }
}

core::Result<void> run(Database& database, Query& query)
{
    if (auto done = query.run(); !done) {
        return explained(database, done.error());
    }
    return {};
}

core::Result<bool> run_delete(Database& database, Query& query)
{
    if (auto done = run(database, query); !done) {
        return done.error();
    }
    return database.changes() > 0;
}

core::Failure not_changed(Database& database, const char* exists, std::int64_t id, const char* what)
{
    Query query(database, exists);
    query.put(id);
    if (query.next()) {
        return {Errc::precondition_failed, Origin::client,
                std::string(what) + " has another version"};
    }
    return query.failed() ? query.failure() : no_such(what);
}

core::Result<void> note(WriteContext& context, AuditRow audit, std::int64_t id)
{
    if (audit.target.empty()) {
        audit.target = std::to_string(id);
    }
    return write_audit(context, std::move(audit));
}

}  // namespace llmproxy::storage
