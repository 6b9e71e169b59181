#include "writer.hpp"

#include "llmproxy/telemetry/log.hpp"
#include "store_error.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace llmproxy::storage {
namespace {

constexpr std::size_t kMostInOneTransaction = 2048;
constexpr std::chrono::milliseconds kQuiet{100};

const telemetry::Log& store_log()
{
    static const auto& log = telemetry::log("storage");
    return log;
}

core::Failure closed_failure()
{
    return store_failure(StoreState::closed, "the store is closed");
}

}  // namespace

Writer::Writer(Options options) : options_(std::move(options)) {}

Writer::~Writer()
{
    close();
    close_log();
}

core::Result<void> Writer::run_now(const Jobs& jobs)
{
    std::vector<core::Result<void>> outcomes(jobs.size());
    auto done = attempt(jobs, outcomes);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        jobs[i]->conclude(done ? outcomes[i] : done);
    }
    return done;
}

void Writer::start()
{
    thread_ = std::thread([this] { work(); });
}

void Writer::push(std::shared_ptr<WriteJob> job)
{
    std::optional<core::Failure> refusal;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            refusal = closed_failure();
        } else if (queue_.size() >= options_.max_queued && !job->always_fits()) {
            refusal = core::Failure(core::Errc::overloaded, core::Origin::self,
                                    "too many writes wait for the store");
        } else {
            queue_.push_back(std::move(job));
            if (waiting_) {
                arrived_.notify_one();
            }
            return;
        }
    }
    job->conclude(*refusal);
}

void Writer::close()
{
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        arrived_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

StoreHealth Writer::health() const
{
    const std::lock_guard lock(mutex_);
    return {state_.load(), reason_};
}

StoreStats Writer::stats() const noexcept
{
    StoreStats stats;
    stats.unsettled = kept_count_;
    stats.commits = commits_;
    stats.writes = writes_;
    stats.failures = failures_;
    stats.commit_nanoseconds = commit_nanoseconds_;
    stats.checkpoints = checkpoints_;
    stats.checkpoint_nanoseconds = checkpoint_nanoseconds_;
    const std::lock_guard lock(mutex_);
    stats.queued = queue_.size() + in_hand_;
    return stats;
}

void Writer::work()
{
    for (;;) {
        auto jobs = wait_for_jobs();
        const bool healthy = state_ == StoreState::ok;
        if (jobs.empty() && healthy) {
            break;
        }
        process(std::move(jobs));
        in_hand_ = 0;
        write_out_log();
        checkpoint_if_due(false);
        const std::lock_guard lock(mutex_);
        if (closed_ && queue_.empty() && state_ != StoreState::ok) {
            break;  // that was the last attempt
        }
    }
    for (const auto& job : std::exchange(kept_, {})) {
        job->conclude(closed_failure());
    }
    const std::lock_guard lock(mutex_);
    if (database_ && state_ == StoreState::ok) {
        sqlite3_wal_checkpoint_v2(database_->handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                  nullptr);
    }
    database_.reset();
    state_ = StoreState::closed;
    reason_ = "the store is closed";
}

Writer::Jobs Writer::wait_for_jobs()
{
    std::unique_lock lock(mutex_);
    if (state_ != StoreState::ok) {
        // What comes meanwhile waits for the next attempt too.
        arrived_.wait_until(lock, next_probe_, [this] { return closed_; });
    } else if (queue_.empty() && !closed_) {
        waiting_ = true;
        const auto woken = [this] { return closed_ || !queue_.empty(); };
        if (!arrived_.wait_for(lock, kQuiet, woken)) {
            lock.unlock();
            checkpoint_if_due(true);
            lock.lock();
            arrived_.wait(lock, woken);
        }
        waiting_ = false;
    }
    Jobs jobs;
    if (queue_.size() <= kMostInOneTransaction) {
        jobs.swap(queue_);
    } else {
        const auto end = queue_.begin() + kMostInOneTransaction;
        jobs.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
        queue_.erase(queue_.begin(), end);
    }
    in_hand_ = jobs.size();
    return jobs;
}

void Writer::process(Jobs jobs)
{
    jobs.insert(jobs.begin(), std::make_move_iterator(kept_.begin()),
                std::make_move_iterator(kept_.end()));
    kept_.clear();
    std::vector<core::Result<void>> outcomes(jobs.size());
    const auto done = attempt(jobs, outcomes);
    // Who is told below finds the state as it is now.
    if (done) {
        succeeded();
    } else {
        keep_settlements(jobs);
        failed(done.error());
    }
    kept_count_ = kept_.size();
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        jobs[i]->conclude(done ? outcomes[i] : done);
    }
}

core::Result<void> Writer::attempt(const Jobs& jobs, std::vector<core::Result<void>>& outcomes)
{
    const auto begun = std::chrono::steady_clock::now();
    if (auto opened = reopen(); !opened) {
        return opened;
    }
    usage_.rolled_back();
    Transaction transaction(*database_, "BEGIN IMMEDIATE");
    if (!transaction.begun()) {
        return transaction.begun();
    }
    WriteContext context{*database_, usage_, options_.clock->wall()};
    if (state_ != StoreState::ok) {
        if (auto possible = probe(context); !possible) {
            return possible;
        }
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (auto applied = apply(*jobs[i], context, outcomes[i]); !applied) {
            return applied;
        }
    }
    if (auto flushed = usage_.flush(*database_); !flushed) {
        return flushed;
    }
    if (auto committed = transaction.commit(); !committed) {
        return committed;
    }
    usage_.committed();
    const auto taken = std::chrono::steady_clock::now() - begun;
    commit_nanoseconds_ += static_cast<std::uint64_t>(taken.count());
    commits_ += 1;
    writes_ += jobs.size();
    if (options_.on_commit) {
        options_.on_commit(taken);
    }
    return {};
}

core::Result<void> Writer::apply(WriteJob& job, WriteContext& context, core::Result<void>& outcome)
{
    if (job.kind() == WriteJob::Kind::settlement) {
        return job.apply(context);
    }
    // A change that is refused (a name that is taken) must leave the others' parts alone.
    if (auto begun = context.database.run("SAVEPOINT change"); !begun) {
        return begun;
    }
    outcome = job.apply(context);
    if (outcome) {
        return context.database.run("RELEASE change");
    }
    if (state_of(outcome.error()) != StoreState::ok) {
        return outcome;
    }
    return context.database.run("ROLLBACK TO change; RELEASE change");
}

/// Shows that the disk takes more than a few bytes, so that the store does not work for one request
/// only.
core::Result<void> Writer::probe(WriteContext& context)
{
    return context.database.run("REPLACE INTO probe(id, bytes) VALUES(1, randomblob(65536))");
}

void Writer::succeeded()
{
    if (state_ == StoreState::ok) {
        return;
    }
    const auto was = state_.exchange(StoreState::ok);
    {
        const std::lock_guard lock(mutex_);
        reason_.clear();
    }
    store_log().info(
        {}, "the store works again",
        {{"was", word_of(was)}, {"after_ms", std::chrono::steady_clock::now() - broken_since_}});
}

void Writer::failed(const core::Failure& failure)
{
    failures_ += 1;
    const auto state = state_of(failure) == StoreState::ok ? StoreState::failed : state_of(failure);
    const auto now = std::chrono::steady_clock::now();
    // A lock says nothing about the connection; after anything else the file may be another one.
    reopen_ = reopen_ || state != StoreState::busy;
    next_probe_ = now + options_.probe_interval;
    const auto was = state_.exchange(state);
    {
        const std::lock_guard lock(mutex_);
        reason_ = failure.detail();
    }
    if (was == StoreState::ok) {
        broken_since_ = now;
    }
    if (was != state) {
        store_log().error(
            {}, "the store does not work: requests are refused until it does",
            {{"state", word_of(state)}, {"path", options_.path}, {"reason", failure.detail()}});
    }
}

void Writer::keep_settlements(const Jobs& jobs)
{
    std::size_t lost = 0;
    for (const auto& job : jobs) {
        if (job->kind() != WriteJob::Kind::settlement) {
            continue;
        }
        if (kept_.size() < options_.max_queued || job->always_fits()) {
            kept_.push_back(job);
        } else {
            ++lost;
        }
    }
    if (lost > 0) {
        store_log().error({}, "settlements without a reservation are lost: too many wait",
                          {{"lost", lost}, {"waiting", kept_.size()}});
    }
}

}  // namespace llmproxy::storage
