#include "account_writes.hpp"

#include "sql_text.hpp"
#include "values.hpp"
#include "write_parts.hpp"

#include <utility>

namespace llmproxy::storage {
namespace {

core::Result<Version> raise_version(WriteContext& context, Subject subject, Version version)
{
    const bool token = subject.kind == SubjectKind::token;
    const auto wanted = expected(version);
    Query query(context.database,
                token ? "UPDATE tokens SET version = version + 1, updated = ? WHERE id = ? AND "
                        "ifnull(?, version) = version RETURNING version"
                      : "UPDATE projects SET version = version + 1, updated = ? WHERE id = ? AND "
                        "ifnull(?, version) = version RETURNING version");
    bind_all(query, context.now, subject.id, wanted);
    if (!query.next()) {
        if (query.failed()) {
            return query.failure();
        }
        return token ? not_changed(context.database, kTokenExists, subject.id, "token")
                     : not_changed(context.database, kProjectExists, subject.id, "project");
    }
    const Version raised = query.integer();
    if (auto done = query.run(); !done) {
        return done.error();
    }
    return raised;
}

core::Result<void> delete_of_subject(WriteContext& context, const char* statement, Subject subject)
{
    Query query(context.database, statement);
    bind_all(query, subject.kind, subject.id);
    return query.run();
}

constexpr char kDeleteLimits[] = "DELETE FROM limits WHERE subject_kind = ? AND subject = ?";
constexpr char kDeleteBudgets[] = "DELETE FROM budgets WHERE subject_kind = ? AND subject = ?";
constexpr auto kInsertLimit =
    join("INSERT INTO limits(subject_kind, subject, ", kLimitColumns, ") VALUES(?,?,?,?,?,?,?,?)");
constexpr auto kInsertBudget =
    join("INSERT INTO budgets(subject_kind, subject, ", kBudgetColumns, ") VALUES(?,?,?,?,?,?)");

template <typename Row, std::size_t N>
core::Result<Version> replace(WriteContext& context, Subject subject, Version version,
                              const std::vector<Row>& rows, AuditRow audit, const char* remove,
                              const std::array<char, N>& add)
{
    const auto raised = raise_version(context, subject, version);
    if (!raised) {
        return raised;
    }
    if (auto removed = delete_of_subject(context, remove, subject); !removed) {
        return removed.error();
    }
    for (const auto& row : rows) {
        Query query(context.database, add.data());
        bind_all(query, subject.kind, subject.id);
        bind_row(query, row);
        if (auto done = run(context.database, query); !done) {
            return done.error();
        }
    }
    if (auto noted = note(context, std::move(audit), subject.id); !noted) {
        return noted.error();
    }
    return raised;
}

}  // namespace

core::Result<Version> write_limits(WriteContext& context, Subject subject, Version version,
                                   const std::vector<LimitRow>& rows, AuditRow audit)
{
    return replace(context, subject, version, rows, std::move(audit), kDeleteLimits, kInsertLimit);
}

core::Result<Version> write_budgets(WriteContext& context, Subject subject, Version version,
                                    const std::vector<BudgetRow>& rows, AuditRow audit)
{
    return replace(context, subject, version, rows, std::move(audit), kDeleteBudgets,
                   kInsertBudget);
}

}  // namespace llmproxy::storage
