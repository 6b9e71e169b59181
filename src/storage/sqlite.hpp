#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace llmproxy::storage {

/// One connection to a database file, with the statements prepared on it.
/// Thread safety: one thread at a time, except `stop`. Lifetime: queries end before it.
class Database {
public:
    /// `unchanging`: for a file on a read-only disk, without a log beside it. Nobody may write to it.
    enum class Mode : std::uint8_t { create, read_write, read_only, unchanging };

    /// Opens the file. Waits up to `patience` for locks of others.
    [[nodiscard]] static core::Result<Database> open(const std::string& path, Mode mode,
                                                     core::Duration patience);

    Database(Database&&) noexcept;
    Database& operator=(Database&&) noexcept;
    ~Database();

    /// Runs statements that give no rows and take no values.
    [[nodiscard]] core::Result<void> run(const char* sql);

    /// The prepared statement of a text; null when it cannot be prepared, `error_code` says why.
    /// \param sql  lives as long as the program: its address is the key.
    [[nodiscard]] sqlite3_stmt* statement(const char* sql) noexcept;

    [[nodiscard]] core::Failure failure(int code, std::string_view doing) const;
    [[nodiscard]] int error_code() const noexcept;
    [[nodiscard]] std::int64_t changes() const noexcept;
    [[nodiscard]] std::int64_t last_id() const noexcept;
    [[nodiscard]] bool in_transaction() const noexcept;
    [[nodiscard]] sqlite3* handle() const noexcept { return handle_.get(); }

    /// Statements fail once the time is past, or `stop` is set.
    void give_up_at(core::SteadyTime time) noexcept;
    [[nodiscard]] bool stopped() const noexcept { return limits_->stopped; }
    /// Has what runs and whatever follows fail soon; from any thread.
    void stop() noexcept { limits_->stopped = true; }

private:
    struct Limits {
        core::SteadyTime until = core::SteadyTime::max();
        std::atomic<bool> stopped{false};
    };
    struct Close {
        void operator()(sqlite3* handle) const noexcept;
    };
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept;
    };

    explicit Database(sqlite3* handle);

    std::unique_ptr<Limits> limits_;
    std::unique_ptr<sqlite3, Close> handle_;
    std::unordered_map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

/// A transaction of `database`, taken back unless it was committed.
class Transaction {
public:
    /// \param begin  "BEGIN" for reading, "BEGIN IMMEDIATE" for writing
    Transaction(Database& database, const char* begin);
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction();

    /// Whether it has begun.
    [[nodiscard]] const core::Result<void>& begun() const noexcept { return begun_; }
    [[nodiscard]] core::Result<void> commit();

private:
    Database& database_;
    core::Result<void> begun_;
};

/// One execution of a prepared statement: values in, rows out, in the order of the statement.
///
/// What goes wrong is kept and told by `failure`; after that `next` gives no more rows.
/// Texts that are bound must outlive the query.
class Query {
public:
    Query(Database& database, const char* sql) noexcept;
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;
    ~Query();

    /// \name The next value
    /// @{
    void put_null() noexcept;
    void put(std::int64_t value) noexcept;
    void put_text(std::string_view value) noexcept;
    void put_blob(std::string_view value) noexcept;
    /// A copy is kept.
    void put_own_text(std::string_view value) noexcept;
    /// @}

    /// Goes to the next row; false after the last, and when something went wrong.
    [[nodiscard]] bool next() noexcept;

    /// \name The next column of the row; views last until `next`
    /// @{
    [[nodiscard]] bool is_null() const noexcept;  ///< does not move on
    [[nodiscard]] std::int64_t integer() noexcept;
    [[nodiscard]] std::string_view text() noexcept;
    [[nodiscard]] std::string_view blob() noexcept;
    void skip() noexcept { ++column_; }
    /// @}

    /// What was read cannot be: the query fails as on a corrupt file.
    void spoil() noexcept;

    /// For a statement without rows: runs it to its end.
    [[nodiscard]] core::Result<void> run();

    [[nodiscard]] bool failed() const noexcept { return code_ != 0; }
    [[nodiscard]] core::Failure failure() const;

    /// The value, unless the query failed.
    template <typename T>
    [[nodiscard]] core::Result<T> unless_failed(T value) const
    {
        if (failed()) {
            return failure();
        }
        return value;
    }

private:
    void check(int code) noexcept;

    Database& database_;
    const char* sql_;
    sqlite3_stmt* statement_;
    int code_ = 0;
    int bound_ = 0;
    int column_ = 0;
    bool begun_ = false;
};

}  // namespace llmproxy::storage
