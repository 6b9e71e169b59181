#include "llmproxy/storage/sqlite_store.hpp"

#include "backup.hpp"
#include "llmproxy/storage/reservation_journal.hpp"
#include "lock_file.hpp"
#include "schema.hpp"
#include "sqlite.hpp"
#include "store_error.hpp"
#include "usage_batch.hpp"
#include "values.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace llmproxy::storage {
namespace {

constexpr std::chrono::seconds kPatience{5};
constexpr std::size_t kMostProblems = 100;

using LedgerDay = std::tuple<Subject, std::int64_t>;
using LedgerDays = std::map<LedgerDay, LedgerEntry>;

/// Opens the file and looks into it, which is when SQLite finds out whether it can.
core::Result<Database> open_for_reading(const std::string& path, Database::Mode mode)
{
    auto database = Database::open(path, mode, kPatience);
    if (database) {
        if (const auto schema = schema_of(*database); !schema) {
            return schema.error();
        }
    }
    return database;
}

core::Result<Database> open_existing(const std::string& path)
{
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
        return store_failure(StoreState::failed, "there is no file " + path);
    }
    auto database = open_for_reading(path, Database::Mode::read_only);
    if (!database && !std::filesystem::exists(path + "-wal", ignored)) {
        // On a read-only disk there can be no log, without which SQLite would not read.
        if (auto unchanging = open_for_reading(path, Database::Mode::unchanging)) {
            database = std::move(unchanging);
        }
    }
    if (!database) {
        return database;
    }
    const auto schema = schema_of(*database);
    if (!schema) {
        return schema.error();
    }
    if (*schema == 0 || *schema > known_schema()) {
        return store_failure(StoreState::failed, path + " has schema " + std::to_string(*schema) +
                                                     "; this llm-proxy knows 1 to " +
                                                     std::to_string(known_schema()));
    }
    return database;
}

core::Result<std::int64_t> count(Database& database, const char* sql)
{
    Query query(database, sql);
    const std::int64_t number = query.next() ? query.integer() : 0;
    return query.unless_failed(number);
}

core::Result<void> check_structure(Database& database, StoreReport& report)
{
    Query integrity(database, "PRAGMA integrity_check(100)");
    while (integrity.next()) {
        if (const auto text = integrity.text(); text != "ok") {
            report.problems.emplace_back(text);
        }
    }
    if (integrity.failed()) {
        return integrity.failure();
    }
    Query foreign(database, "PRAGMA foreign_key_check");
    while (foreign.next()) {
        const std::string table(foreign.text());
        report.problems.push_back("a row of " + table + " belongs to a project that is not there");
    }
    if (foreign.failed()) {
        return foreign.failure();
    }
    return {};
}

/// The ledger that the usage rows make.
core::Result<LedgerDays> sum_rows(Database& database)
{
    LedgerDays days;
    Query query(database, "SELECT request, project, token, cost, prompt + completion FROM usage "
                          "ORDER BY request");
    core::Uuid before;
    while (query.next()) {
        core::Uuid request;
        core::ProjectId project{};
        core::TokenId token{};
        LedgerEntry entry;
        read_all(query, request, project, token, entry.cost, entry.tokens);
        entry.requests = request == before ? 0 : 1;
        before = request;
        const auto day = to_milliseconds(core::time_of(request)) / kDayMs;
        if (project != core::ProjectId::none) {
            days[{project, day}] += entry;
        }
        if (token != core::TokenId::none) {
            days[{token, day}] += entry;
        }
    }
    return query.unless_failed(std::move(days));
}

std::string describe(const LedgerDay& key, const LedgerEntry& ledger, const LedgerEntry& rows)
{
    const auto text = [](const LedgerEntry& entry) {
        return std::to_string(entry.cost.count) + " nano-USD, " + std::to_string(entry.tokens) +
               " tokens, " + std::to_string(entry.requests) + " requests";
    };
    const auto& [subject, day] = key;
    return std::string(subject.kind == SubjectKind::project ? "project " : "token ") +
           std::to_string(subject.id) + ", day " + std::to_string(day) + ": the ledger says " +
           text(ledger) + "; its usage rows say " + text(rows);
}

core::Result<void> check_ledger(Database& database, StoreReport& report)
{
    auto rows = sum_rows(database);
    if (!rows) {
        return rows.error();
    }
    const auto rows_from = meta_value(database, kRowsFrom, 0);
    if (!rows_from) {
        return rows_from.error();
    }
    Query query(database, "SELECT subject_kind, subject, day, cost, tokens, requests FROM ledger");
    while (query.next()) {
        LedgerDay key;
        auto& [subject, day] = key;
        LedgerEntry entry;
        read_all(query, subject.kind, subject.id, day, entry.cost, entry.tokens, entry.requests);
        const auto found = rows->find(key);
        const auto expected = found == rows->end() ? LedgerEntry{} : found->second;
        if (found != rows->end()) {
            rows->erase(found);
        }
        const bool complete =
            day * kDayMs >= *rows_from;  // the rows of an older day are gone in part
        if (complete && entry != expected && report.problems.size() < kMostProblems) {
            report.problems.push_back(describe(key, entry, expected));
        }
    }
    if (query.failed()) {
        return query.failure();
    }
    for (const auto& [key, entry] : *rows) {
        if (report.problems.size() < kMostProblems) {
            report.problems.push_back(describe(key, {}, entry));
        }
    }
    return {};
}

core::Result<void> count_rows(Database& database, StoreReport& report)
{
    const std::pair<const char*, std::int64_t*> counts[] = {
        {"SELECT count(*) FROM projects", &report.projects},
        {"SELECT count(*) FROM tokens", &report.tokens},
        {"SELECT count(*) FROM usage", &report.usage_rows},
    };
    for (const auto& [sql, target] : counts) {
        const auto number = count(database, sql);
        if (!number) {
            return number.error();
        }
        *target = *number;
    }
    return {};
}

}  // namespace

core::Result<StoreReport> check_sqlite(const std::string& path)
{
    auto database = open_existing(path);
    if (!database) {
        return database.error();
    }
    const auto lock = LockFile::take(path);
    StoreReport report;
    report.in_use = !lock && lock.error().errc() == core::Errc::conflict;
    Transaction moment(*database, "BEGIN");
    if (!moment.begun()) {
        return moment.begun().error();
    }
    const auto schema = schema_of(*database);
    if (!schema) {
        return schema.error();
    }
    report.schema = *schema;
    auto done = check_structure(*database, report);
    // The ledger of a broken file would only repeat what is known.
    if (done && report.problems.empty() && *schema == known_schema()) {
        done = count_rows(*database, report);
        if (done) {
            done = check_ledger(*database, report);
        }
    }
    if (!done) {
        return done.error();
    }
    if (lock) {
        const auto left = ReservationJournal::count(path + "-reservations");
        if (!left) {
            return left.error();
        }
        report.reservations = *left;
    }
    return report;
}

core::Result<void> backup_sqlite(const std::string& path, const std::string& to)
{
    auto database = open_existing(path);
    if (!database) {
        return database.error();
    }
    const auto lock = LockFile::take(path);
    if (!lock) {
        return lock.error();
    }
    return copy_database(*database, to);
}

}  // namespace llmproxy::storage
