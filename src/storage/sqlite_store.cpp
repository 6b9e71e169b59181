#include "sqlite_store.hpp"

#include "change_job.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "store_error.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace llmproxy::storage {
namespace {

const telemetry::Log& store_log()
{
    static const auto& log = telemetry::log("storage");
    return log;
}

/// SQLite would make the file readable for everybody.
core::Result<void> make_private(const std::string& path)
{
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return system_failure(errno, "opening " + path);
    }
    ::close(descriptor);
    return {};
}

/// Settles what an earlier process left, in one transaction.
core::Result<void> recover(Writer& writer, const std::shared_ptr<ReservationJournal>& journal)
{
    std::vector<std::shared_ptr<WriteJob>> jobs;
    std::size_t unknown = 0;
    core::NanoUsd cost;
    for (const auto& found : journal->left_over()) {
        if (found.settled && found.attempts == 0) {
            journal->free(found.slot);
            continue;
        }
        unknown += found.settled ? 0 : 1;
        cost += found.row.cost;
        jobs.push_back(std::make_shared<RecoveryJob>(HeldSlot{journal, found.slot}, found.row));
    }
    if (jobs.empty()) {
        return {};
    }
    store_log().warn(
        {}, "requests were under way when an earlier run ended: their usage is written",
        {{"requests", jobs.size()}, {"indeterminate", unknown}, {"nano_usd", cost.count}});
    return writer.run_now(jobs);
}

}  // namespace

class SqliteStore::Keeper final : public Reservation::Keeper {
public:
    Keeper(std::shared_ptr<ReservationJournal> journal, std::shared_ptr<Writer> writer)
        : journal_(std::move(journal)), writer_(std::move(writer))
    {
    }
    void cancel(std::uint32_t slot) noexcept override { journal_->free(slot); }
    void drop(std::uint32_t slot) noexcept override
    {
        dropped_ += 1;
        try {
            auto row = journal_->look(slot).row;
            writer_->push(std::make_shared<RecoveryJob>(HeldSlot{journal_, slot}, std::move(row)));
        } catch (const std::exception& error) {
            // The slot keeps it until the next start.
            store_log().error({}, "a reservation could not be settled", {{"reason", error.what()}});
        }
    }
    void note_backend(std::uint32_t slot, std::string_view backend) noexcept override
    {
        journal_->note_backend(slot, backend);
    }
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
    std::shared_ptr<ReservationJournal> journal_;
    std::shared_ptr<Writer> writer_;
    std::atomic<std::uint64_t> dropped_{0};
};

core::Result<std::shared_ptr<Store>> open_sqlite(SqliteOptions options)
{
    return SqliteStore::open(std::move(options));
}

core::Result<std::shared_ptr<Store>> SqliteStore::open(SqliteOptions options)
{
    if (!options.clock) {
        options.clock = std::make_shared<core::RealClock>();
    }
    const auto& path = options.settings.path;
    auto lock = LockFile::take(path);
    if (!lock) {
        return lock.error();
    }
    if (auto made = make_private(path); !made) {
        return made.error();
    }
    Writer::Options writing;
    writing.path = path;
    writing.durability = options.settings.durability;
    writing.clock = options.clock;
    writing.max_queued = options.max_queued_writes;
    writing.patience = options.lock_patience;
    writing.probe_interval = options.probe_interval;
    writing.on_commit = std::move(options.on_commit);
    auto writer = std::make_shared<Writer>(std::move(writing));
    if (auto opened = writer->open(); !opened) {
        return opened.error();
    }
    auto journal = ReservationJournal::open(path + "-reservations", options.reservations);
    if (!journal) {
        return journal.error();
    }
    const std::shared_ptr<ReservationJournal> shared = std::move(*journal);
    if (auto recovered = recover(*writer, shared); !recovered) {
        return recovered.error();
    }
    writer->start();
    return std::shared_ptr<Store>(
        new SqliteStore(options, std::move(*lock), shared, std::move(writer)));
}

SqliteStore::SqliteStore(const SqliteOptions& options, LockFile lock,
                         std::shared_ptr<ReservationJournal> journal,
                         std::shared_ptr<Writer> writer)
    : lock_(std::move(lock)), journal_(std::move(journal)), writer_(std::move(writer)),
      keeper_(std::make_shared<Keeper>(journal_, writer_)),
      upkeep_({options.settings.retention, options.settings.rollup_retention, options.clock},
              *writer_),
      quick_({options.settings.path, options.max_queued_reads, options.query_timeout, {}, {}}),
      slow_({options.settings.path, options.max_queued_reads, options.query_timeout, {}, {}}),
      background_({options.settings.path,
                   options.max_queued_reads,
                   {},
                   options.upkeep_interval,
                   [this](Database& database) {
                       if (auto done = upkeep_.run(database); !done && writer_->healthy()) {
                           store_log().warn({}, "upkeep of the store failed; it is tried again",
                                            {{"reason", done.error().describe()}});
                       }
                   }})
{
    if (options.settings.durability == Durability::power) {
        syncer_.emplace(journal_);
    }
}

SqliteStore::~SqliteStore()
{
    // The writer last: upkeep waits for it, and its checkpoint needs the readers gone.
    background_.close();
    slow_.close();
    quick_.close();
    background_.join();
    slow_.join();
    quick_.join();
    syncer_.reset();
    writer_->close();
}

StoreStats SqliteStore::stats() const noexcept
{
    auto stats = writer_->stats();
    stats.reservations = journal_->occupied();
    stats.indeterminate = keeper_->dropped();
    for (const auto& found : journal_->left_over()) {
        stats.indeterminate += found.settled ? 0 : 1;
    }
    return stats;
}

core::Task<core::Result<Reservation>> SqliteStore::reserve(ReservationRecord record)
{
    if (!writer_->healthy()) {
        const auto now = writer_->health();
        co_return store_failure(now.state, now.reason);
    }
    const auto slot = journal_->occupy(record);
    if (!slot) {
        co_return slot.error();
    }
    Reservation held(keeper_, *slot);
    if (syncer_) {
        const auto synced = co_await syncer_->sync(*slot);
        if (!synced) {
            held.cancel();
            co_return synced.error();
        }
    }
    co_return std::move(held);
}

core::Task<core::Result<void>> SqliteStore::settle(Settlement settlement)
{
    std::optional<HeldSlot> held;
    if (settlement.reservation) {
        if (settlement.rows.empty()) {
            settlement.reservation.cancel();
        } else {
            held = HeldSlot{journal_, settlement.reservation.take().second};
            journal_->settle(held->slot, settlement.rows);
        }
    }
    if (settlement.rows.empty()) {
        co_return core::Result<void>();
    }
    const auto job = std::make_shared<SettlementJob>(std::move(held), std::move(settlement.rows));
    PushJob<SettlementJob> push(*writer_, job);
    co_await suspend(std::move(push));
    co_return job->result();
}

}  // namespace llmproxy::storage
