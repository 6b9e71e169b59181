// The writer's connection and its write-ahead log: opened, opened anew after a failure, checkpointed.

#include "llmproxy/telemetry/log.hpp"
#include "schema.hpp"
#include "store_error.hpp"
#include "writer.hpp"

#include <sqlite3.h>

#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace llmproxy::storage {
namespace {

// A checkpoint holds commits up for two syncs of the disk. So it waits for a moment of quiet, until
// the log is long.
constexpr int kCheckpointQuiet = 500;  // pages of 4 KiB
constexpr int kCheckpointBusy = 8000;
constexpr int kWriteOut = 500;

const telemetry::Log& store_log()
{
    static const auto& log = telemetry::log("storage");
    return log;
}

const char* pragmas(Durability durability) noexcept
{
    // Checkpoints are made by checkpoint_if_due. Memory for temporary data: no file of it can be
    // full.
    return durability == Durability::power
               ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                 "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; "
                 "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 0"
               : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                 "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192; "
                 "PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 0";
}

core::Result<Database> connect(const Writer::Options& options, int& log_pages)
{
    auto database = Database::open(options.path, Database::Mode::create, options.patience);
    if (!database) {
        return database;
    }
    if (auto set = database->run(pragmas(options.durability)); !set) {
        return set.error();
    }
    Query mode(*database, "PRAGMA journal_mode");
    if (!mode.next() || mode.text() != "wal") {
        return store_failure(StoreState::failed,
                             "the file system of " + options.path + " cannot hold a WAL database");
    }
    sqlite3_wal_hook(
        database->handle(),
        [](void* pages, sqlite3*, const char*, int count) {
            *static_cast<int*>(pages) = count;
            return SQLITE_OK;
        },
        &log_pages);
    return database;
}

}  // namespace

core::Result<void> Writer::open()
{
    auto database = connect(options_, log_pages_);
    if (!database) {
        return database.error();
    }
    database_.emplace(std::move(*database));
    const auto before = migrate(*database_);
    if (!before) {
        return before.error();
    }
    if (*before != known_schema()) {
        store_log().info({}, "the store's schema was brought up to date",
                         {{"from", *before}, {"to", known_schema()}, {"path", options_.path}});
    }
    return usage_.load(*database_);
}

void Writer::close_log() noexcept
{
    if (log_file_ >= 0) {
        ::close(std::exchange(log_file_, -1));
    }
}

core::Result<void> Writer::reopen()
{
    if (!reopen_) {
        return {};
    }
    database_.reset();
    close_log();
    auto database = connect(options_, log_pages_);
    if (!database) {
        return database.error();
    }
    database_.emplace(std::move(*database));
    const auto schema = schema_of(*database_);
    if (!schema) {
        return schema.error();
    }
    if (*schema != known_schema()) {
        return store_failure(StoreState::failed, "the file has another schema than at the start");
    }
    if (auto loaded = usage_.load(*database_); !loaded) {
        return loaded;
    }
    reopen_ = false;
    return {};
}

/// Has the system begin to write the log to the disk, so that the next checkpoint's sync finds
/// little to do.
void Writer::write_out_log()
{
    written_out_ = log_pages_ < written_out_ ? 0 : written_out_;
    if (log_pages_ - written_out_ < kWriteOut) {
        return;
    }
    written_out_ = log_pages_;
    if (log_file_ < 0) {
        log_file_ = ::open((options_.path + "-wal").c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (log_file_ >= 0) {
        // Only a hint: the checkpoint syncs whatever comes of it.
        static_cast<void>(::sync_file_range(log_file_, 0, 0, SYNC_FILE_RANGE_WRITE));
    }
}

void Writer::checkpoint_if_due(bool quiet)
{
    if (!database_ || state_ != StoreState::ok) {
        return;
    }
    // A reader of an old state keeps the log from starting anew: it then counts what was added
    // since.
    checkpoint_at_ = log_pages_ < checkpoint_at_ ? 0 : checkpoint_at_;
    if (log_pages_ - checkpoint_at_ < (quiet ? kCheckpointQuiet : kCheckpointBusy)) {
        return;
    }
    checkpoint_at_ = log_pages_;
    const auto begun = std::chrono::steady_clock::now();
    const int code = sqlite3_wal_checkpoint_v2(database_->handle(), nullptr,
                                               SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    const auto taken = std::chrono::steady_clock::now() - begun;
    checkpoint_nanoseconds_ += static_cast<std::uint64_t>(taken.count());
    checkpoints_ += 1;
    if (code != SQLITE_OK && code != SQLITE_BUSY) {
        // The rows are safe in the log; commits tell when that cannot grow any more.
        store_log().warn({}, "a checkpoint of the store failed",
                         {{"reason", database_->failure(code, "checkpoint").detail()}});
    }
}

}  // namespace llmproxy::storage
