#include "schema.hpp"

#include "store_error.hpp"

#include <array>
#include <string>

namespace llmproxy::storage {
namespace {

constexpr std::int64_t kApplicationId = 0x4c4c'4d50;  // "LLMP"

// Times are Unix milliseconds, durations microseconds, money nano-USD, lists JSON. Never change a
// migration that was released: add one.
constexpr const char* kAccounts = R"(
CREATE TABLE meta(
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Written to see whether the disk takes something again.
CREATE TABLE probe(
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE projects(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    models TEXT NOT NULL,
    hosts TEXT NOT NULL,
    routes TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    project INTEGER NOT NULL REFERENCES projects(id),
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    models TEXT NOT NULL,
    hosts TEXT NOT NULL,
    routes TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER,
    UNIQUE(project, name)
) STRICT;
CREATE INDEX tokens_by_project ON tokens(project);

CREATE TABLE provider_keys(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    project INTEGER NOT NULL REFERENCES projects(id),
    backend TEXT NOT NULL,
    name TEXT NOT NULL,
    master_key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    hint TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE(project, backend, name)
) STRICT;

CREATE TABLE limits(
    subject_kind INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    route TEXT NOT NULL,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    bytes_per_minute INTEGER,
    concurrent_requests INTEGER,
    tunnels INTEGER,
    PRIMARY KEY(subject_kind, subject, route)
) STRICT, WITHOUT ROWID;

CREATE TABLE budgets(
    subject_kind INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    period INTEGER NOT NULL,
    cost INTEGER,
    tokens INTEGER,
    soft_percents BLOB NOT NULL,
    PRIMARY KEY(subject_kind, subject, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    actor TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;

CREATE TABLE resources(
    project INTEGER NOT NULL REFERENCES projects(id),
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    token INTEGER NOT NULL,
    backend TEXT NOT NULL,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY(project, kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX resources_by_expiry ON resources(expires) WHERE expires IS NOT NULL;
)";

// usage: its only index is the primary key, which is ordered by time because the id begins with it.
// ledger: sums per day only; weeks, months and the total are made of days. usage_dirty: hours (unit
// 1) and days (unit 2) whose sums are not made, or older than a row of theirs.
constexpr const char* kUsage = R"(
CREATE TABLE usage(
    request BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    project INTEGER NOT NULL,
    token INTEGER NOT NULL,
    route TEXT NOT NULL,
    backend TEXT NOT NULL,
    key INTEGER NOT NULL,
    requested_model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    host TEXT NOT NULL,
    prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    priced INTEGER NOT NULL,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    stream INTEGER NOT NULL,
    first_byte INTEGER,
    duration INTEGER,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY(request, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger(
    subject_kind INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    day INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY(subject_kind, subject, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_dirty(
    unit INTEGER NOT NULL,
    start INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    first_request BLOB NOT NULL,
    end_request BLOB NOT NULL,
    PRIMARY KEY(unit, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hourly(
    start INTEGER NOT NULL,
    project INTEGER NOT NULL,
    token INTEGER NOT NULL,
    route TEXT NOT NULL,
    backend TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY(start, project, token, route, backend, requested_model, served_model)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_daily(
    start INTEGER NOT NULL,
    project INTEGER NOT NULL,
    token INTEGER NOT NULL,
    route TEXT NOT NULL,
    backend TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY(start, project, token, route, backend, requested_model, served_model)
) STRICT, WITHOUT ROWID;
)";

constexpr std::array kMigrations{kAccounts, kUsage};

core::Result<std::int64_t> number(Database& database, const char* sql)
{
    Query query(database, sql);
    const std::int64_t value = query.next() ? query.integer() : 0;
    return query.unless_failed(value);
}

core::Result<void> run_migration(Database& database, std::size_t index)
{
    Transaction transaction(database, "BEGIN IMMEDIATE");
    if (!transaction.begun()) {
        return transaction.begun();
    }
    const auto version = std::to_string(index + 1);
    const auto mark = "PRAGMA application_id = " + std::to_string(kApplicationId) +
                      "; PRAGMA user_version = " + version;
    if (auto done = database.run(kMigrations.at(index)); !done) {
        return store_failure(state_of(done.error()),
                             "migration " + version + ": " + done.error().detail());
    }
    if (auto done = database.run(mark.c_str()); !done) {
        return done;
    }
    return transaction.commit();
}

}  // namespace

std::int64_t known_schema() noexcept
{
    return static_cast<std::int64_t>(kMigrations.size());
}

core::Result<std::int64_t> schema_of(Database& database)
{
    const auto application = number(database, "PRAGMA application_id");
    if (!application) {
        return application;
    }
    if (*application == kApplicationId) {
        return number(database, "PRAGMA user_version");
    }
    const auto tables = number(database, "SELECT count(*) FROM sqlite_schema");
    if (!tables) {
        return tables;
    }
    if (*application != 0 || *tables != 0) {
        return store_failure(StoreState::failed, "the database is not one of llm-proxy");
    }
    return 0;
}

core::Result<std::int64_t> migrate(Database& database)
{
    const auto schema = schema_of(database);
    if (!schema) {
        return schema;
    }
    if (*schema > known_schema()) {
        return store_failure(StoreState::failed,
                             "the database has schema " + std::to_string(*schema) +
                                 ", made by a newer llm-proxy; this one knows " +
                                 std::to_string(known_schema()));
    }
    for (auto next = static_cast<std::size_t>(*schema); next < kMigrations.size(); ++next) {
        if (auto done = run_migration(database, next); !done) {
            return done.error();
        }
    }
    return schema;
}

}  // namespace llmproxy::storage
