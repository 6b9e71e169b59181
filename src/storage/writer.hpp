#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/reservation_journal.hpp"
#include "llmproxy/storage/settings.hpp"
#include "llmproxy/storage/store.hpp"
#include "sqlite.hpp"
#include "usage_batch.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::storage {

/// What a job of the writer works with, inside its transaction.
struct WriteContext {
    Database& database;
    UsageBatch& usage;
    core::SystemTime now;
};

/// One part of a transaction of the writer.
class WriteJob {
public:
    /// What a failure of the transaction means for the job.
    enum class Kind : std::uint8_t {
        change,      ///< it fails; may also fail alone, and then only its own part is taken back
        settlement,  ///< it is told, kept, and done again once the store works
    };

    explicit WriteJob(Kind kind) noexcept : kind_(kind) {}
    WriteJob(const WriteJob&) = delete;
    WriteJob& operator=(const WriteJob&) = delete;
    virtual ~WriteJob() = default;

    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    /// Whether it is bounded by something else than the queue.
    [[nodiscard]] virtual bool always_fits() const noexcept { return false; }
    [[nodiscard]] virtual core::Result<void> apply(WriteContext& context) = 0;
    /// It is durable, or failed. More than once for a settlement: first failures, then success.
    virtual void conclude(const core::Result<void>& outcome) = 0;

private:
    const Kind kind_;
};

/// The thread that owns the one connection that writes and checkpoints.
///
/// Commits in groups without a timer: what came while it committed is the next transaction. When a
/// transaction fails it tells the reason (`health`), takes no new work (`healthy`), and tries again
/// each `kProbeInterval` until it can write; the settlements are kept until then. Thread safety:
/// every member may be called concurrently.
class Writer {
public:
    struct Options {
        std::string path;
        Durability durability = Durability::process;
        std::shared_ptr<const core::Clock> clock;
        std::size_t max_queued = 0;
        core::Duration patience{0};  ///< with locks that other programs hold
        core::Duration probe_interval{0};
        std::function<void(core::Duration took)> on_commit{};  ///< may be empty
    };

    explicit Writer(Options options);
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    ~Writer();

    /// Opens the connection, makes or updates the schema. Before `start`.
    [[nodiscard]] core::Result<void> open();

    /// One transaction on the caller's thread. Before `start`.
    [[nodiscard]] core::Result<void> run_now(const std::vector<std::shared_ptr<WriteJob>>& jobs);

    void start();

    /// Queues the job. Does not block; a job that is refused is concluded by the caller's thread.
    void push(std::shared_ptr<WriteJob> job);

    /// Writes what is queued, then ends the thread; what cannot be written is concluded as failed.
    void close();

    [[nodiscard]] bool healthy() const noexcept
    {
        return state_.load(std::memory_order_relaxed) == StoreState::ok;
    }
    [[nodiscard]] StoreHealth health() const;
    [[nodiscard]] StoreStats stats() const noexcept;

private:
    using Jobs = std::vector<std::shared_ptr<WriteJob>>;

    void work();
    [[nodiscard]] Jobs wait_for_jobs();
    void process(Jobs jobs);
    [[nodiscard]] core::Result<void> attempt(const Jobs& jobs,
                                             std::vector<core::Result<void>>& outcomes);
    [[nodiscard]] core::Result<void> apply(WriteJob& job, WriteContext& context,
                                           core::Result<void>& outcome);
    [[nodiscard]] core::Result<void> probe(WriteContext& context);
    void succeeded();
    void failed(const core::Failure& failure);
    void keep_settlements(const Jobs& jobs);
    [[nodiscard]] core::Result<void> reopen();
    void checkpoint_if_due(bool quiet);
    void write_out_log();
    void close_log() noexcept;

    const Options options_;

    // Of the thread.
    std::optional<Database> database_;
    UsageBatch usage_;
    Jobs kept_;
    core::SteadyTime next_probe_;
    core::SteadyTime broken_since_;
    bool reopen_ = false;
    int log_pages_ = 0;      // in the write-ahead log, after the last commit
    int checkpoint_at_ = 0;  // of these, at the last checkpoint
    int written_out_ = 0;    // of these, the disk was told to take
    int log_file_ = -1;

    std::atomic<StoreState> state_{StoreState::ok};
    std::atomic<std::uint64_t> commits_{0};
    std::atomic<std::uint64_t> writes_{0};
    std::atomic<std::uint64_t> failures_{0};
    std::atomic<std::uint64_t> commit_nanoseconds_{0};
    std::atomic<std::uint64_t> checkpoints_{0};
    std::atomic<std::uint64_t> checkpoint_nanoseconds_{0};
    std::atomic<std::uint64_t> kept_count_{0};
    std::atomic<std::uint64_t> in_hand_{0};  // out of the queue, and not done

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable arrived_;
    Jobs queue_;
    std::string reason_;
    bool waiting_ = false;
    bool closed_ = false;
    std::thread thread_;
};

}  // namespace llmproxy::storage
