#include "sqlite.hpp"

#include "store_error.hpp"

#include <sqlite3.h>

#include <utility>

namespace llmproxy::storage {
namespace {

constexpr int kStepsBetweenLooks = 4000;  // of SQLite's virtual machine: some 50 us

/// An empty view may have no address, which SQLite would take for NULL.
const char* address_of(std::string_view text) noexcept
{
    return text.data() == nullptr ? "" : text.data();
}

int flags_of(Database::Mode mode) noexcept
{
    switch (mode) {
    case Database::Mode::create: return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case Database::Mode::read_write: return SQLITE_OPEN_READWRITE;
    case Database::Mode::unchanging: return SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
    case Database::Mode::read_only: break;
    }
    return SQLITE_OPEN_READONLY;
}

/// RFC 8089: every byte that could mean something else is escaped.
std::string unchanging_uri(const std::string& path)
{
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string uri = "file:";
    for (const char c : path) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '%' || c == '?' || c == '#') {
            uri += '%';
            uri += kDigits[byte >> 4U];
            uri += kDigits[byte & 15U];
        } else {
            uri += c;
        }
    }
    return uri + "?immutable=1";
}

}  // namespace

void Database::Close::operator()(sqlite3* handle) const noexcept
{
    sqlite3_close_v2(handle);
}

void Database::Finalize::operator()(sqlite3_stmt* statement) const noexcept
{
    sqlite3_finalize(statement);
}

Database::Database(sqlite3* handle) : limits_(std::make_unique<Limits>()), handle_(handle) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&& other) noexcept
{
    statements_ = std::move(other.statements_);
    handle_ = std::move(other.handle_);
    limits_ = std::move(other.limits_);
    return *this;
}
Database::~Database() = default;

core::Result<Database> Database::open(const std::string& path, Mode mode, core::Duration patience)
{
    sqlite3* handle = nullptr;
    const auto name = mode == Mode::unchanging ? unchanging_uri(path) : path;
    const int code =
        sqlite3_open_v2(name.c_str(), &handle, flags_of(mode) | SQLITE_OPEN_NOMUTEX, nullptr);
    Database database(handle);
    if (code != SQLITE_OK) {
        return sqlite_failure(handle, code, "opening " + path);
    }
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(
        handle,
        static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(patience).count()));
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_progress_handler(
        handle, kStepsBetweenLooks,
        [](void* given) {
            const auto* limits = static_cast<const Limits*>(given);
            const bool late = limits->until != core::SteadyTime::max() &&
                              std::chrono::steady_clock::now() >= limits->until;
            return late || limits->stopped ? 1 : 0;
        },
        database.limits_.get());
    return database;
}

core::Result<void> Database::run(const char* sql)
{
    const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) {
        return failure(code, sql);
    }
    return {};
}

sqlite3_stmt* Database::statement(const char* sql) noexcept
{
    auto& known = statements_[sql];
    if (!known) {
        sqlite3_stmt* made = nullptr;
        sqlite3_prepare_v3(handle_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
        known.reset(made);
    }
    return known.get();
}

core::Failure Database::failure(int code, std::string_view doing) const
{
    return sqlite_failure(handle_.get(), code, doing);
}

int Database::error_code() const noexcept
{
    return sqlite3_extended_errcode(handle_.get());
}

std::int64_t Database::changes() const noexcept
{
    return sqlite3_changes64(handle_.get());
}

std::int64_t Database::last_id() const noexcept
{
    return sqlite3_last_insert_rowid(handle_.get());
}

bool Database::in_transaction() const noexcept
{
    return sqlite3_get_autocommit(handle_.get()) == 0;
}

void Database::give_up_at(core::SteadyTime time) noexcept
{
    limits_->until = time;
}

Transaction::Transaction(Database& database, const char* begin)
    : database_(database), begun_(database.run(begin))
{
}

Transaction::~Transaction()
{
    if (database_.in_transaction()) {
        // It fails only when SQLite has taken the transaction back already.
        static_cast<void>(database_.run("ROLLBACK"));
    }
}

core::Result<void> Transaction::commit()
{
    return database_.run("COMMIT");
}

Query::Query(Database& database, const char* sql) noexcept
    : database_(database), sql_(sql), statement_(database.statement(sql))
{
    if (statement_ == nullptr) {
        code_ = database.error_code();
    }
}

Query::~Query()
{
    sqlite3_reset(statement_);
}

void Query::check(int code) noexcept
{
    if (code != SQLITE_OK && code_ == 0) {
        code_ = code;
    }
}

void Query::put_null() noexcept
{
    check(sqlite3_bind_null(statement_, ++bound_));
}

void Query::put(std::int64_t value) noexcept
{
    check(sqlite3_bind_int64(statement_, ++bound_, value));
}

void Query::put_text(std::string_view value) noexcept
{
    check(sqlite3_bind_text64(statement_, ++bound_, address_of(value), value.size(), SQLITE_STATIC,
                              SQLITE_UTF8));
}

void Query::put_blob(std::string_view value) noexcept
{
    check(
        sqlite3_bind_blob64(statement_, ++bound_, address_of(value), value.size(), SQLITE_STATIC));
}

void Query::put_own_text(std::string_view value) noexcept
{
    check(sqlite3_bind_text64(statement_, ++bound_, address_of(value), value.size(),
                              SQLITE_TRANSIENT, SQLITE_UTF8));
}

bool Query::next() noexcept
{
    if (!begun_ && code_ == 0 && sqlite3_bind_parameter_count(statement_) != bound_) {
        code_ = SQLITE_MISUSE;
    }
    begun_ = true;
    if (code_ != 0) {
        return false;
    }
    column_ = 0;
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code != SQLITE_DONE) {
        code_ = code;
    }
    return false;
}

bool Query::is_null() const noexcept
{
    return sqlite3_column_type(statement_, column_) == SQLITE_NULL;
}

std::int64_t Query::integer() noexcept
{
    return sqlite3_column_int64(statement_, column_++);
}

std::string_view Query::text() noexcept
{
    const auto* bytes = sqlite3_column_text(statement_, column_);
    const auto size = sqlite3_column_bytes(statement_, column_++);
    return {bytes == nullptr ? "" : reinterpret_cast<const char*>(bytes),
            static_cast<std::size_t>(size)};
}

std::string_view Query::blob() noexcept
{
    const auto* bytes = sqlite3_column_blob(statement_, column_);
    const auto size = sqlite3_column_bytes(statement_, column_++);
    return {bytes == nullptr ? "" : static_cast<const char*>(bytes),
            static_cast<std::size_t>(size)};
}

void Query::spoil() noexcept
{
    check(SQLITE_CORRUPT);
}

core::Result<void> Query::run()
{
    while (next()) {}
    if (failed()) {
        return failure();
    }
    return {};
}

core::Failure Query::failure() const
{
    return database_.failure(code_, sql_);
}

}  // namespace llmproxy::storage
