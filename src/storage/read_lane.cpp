#include "read_lane.hpp"

#include "store_error.hpp"

namespace llmproxy::storage {
namespace {

constexpr std::chrono::seconds kPatience{5};  // with locks, which readers of a WAL hardly meet

}  // namespace

ReadLane::ReadLane(Options options) : options_(std::move(options)), thread_([this] { work(); }) {}

ReadLane::~ReadLane()
{
    close();
    join();
}

void ReadLane::join()
{
    if (thread_.joinable()) {
        thread_.join();
    }
}

void ReadLane::close()
{
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (database_) {
        database_->stop();
    }
    arrived_.notify_one();
}

void ReadLane::push(std::shared_ptr<Job> job)
{
    {
        const std::lock_guard lock(mutex_);
        if (!closed_ && queue_.size() < options_.max_queued) {
            queue_.push_back(std::move(job));
            arrived_.notify_one();
            return;
        }
        if (closed_) {
            job->fail(store_failure(StoreState::closed, "the store is closed"));
        } else {
            job->fail({core::Errc::overloaded, core::Origin::self, "too many reads of the store"});
        }
    }
    job->waiting.resume();
}

void ReadLane::work()
{
    next_tick_ = std::chrono::steady_clock::now() + options_.interval;
    std::unique_lock lock(mutex_);
    for (;;) {
        wait(lock);
        if (queue_.empty()) {
            if (closed_) {
                return;
            }
            lock.unlock();
            tick();
            lock.lock();
            continue;
        }
        const auto job = std::move(queue_.front());
        queue_.pop_front();
        const bool closed = closed_;
        lock.unlock();
        if (closed) {
            job->fail(store_failure(StoreState::closed, "the store is closed"));
        } else {
            run(*job);
        }
        job->waiting.resume();
        lock.lock();
    }
}

void ReadLane::wait(std::unique_lock<std::mutex>& lock)
{
    const auto woken = [this] { return closed_ || !queue_.empty(); };
    if (options_.tick) {
        arrived_.wait_until(lock, next_tick_, woken);
    } else {
        arrived_.wait(lock, woken);
    }
}

void ReadLane::tick()
{
    if (const auto connected = connect(); connected) {
        options_.tick(*database_);
    }
    next_tick_ = std::chrono::steady_clock::now() + options_.interval;
}

void ReadLane::run(Job& job)
{
    if (auto connected = connect(); !connected) {
        job.fail(connected.error());
        return;
    }
    if (options_.timeout > core::Duration::zero()) {
        database_->give_up_at(std::chrono::steady_clock::now() + options_.timeout);
    }
    const auto* failure = job.run(*database_);
    database_->give_up_at(core::SteadyTime::max());
    if (failure != nullptr && state_of(*failure) != StoreState::ok) {
        // The file may be another one by the next time.
        const std::lock_guard lock(mutex_);
        database_.reset();
    }
}

core::Result<void> ReadLane::connect()
{
    if (database_) {
        return {};
    }
    auto opened = Database::open(options_.path, Database::Mode::read_only, kPatience);
    if (!opened) {
        return opened.error();
    }
    if (auto set = opened->run("PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY"); !set) {
        return set;
    }
    const std::lock_guard lock(mutex_);
    database_.emplace(std::move(*opened));
    if (closed_) {
        database_->stop();
    }
    return {};
}

}  // namespace llmproxy::storage
