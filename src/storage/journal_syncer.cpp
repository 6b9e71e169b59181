#include "journal_syncer.hpp"

namespace llmproxy::storage {

JournalSyncer::JournalSyncer(std::shared_ptr<ReservationJournal> journal)
    : journal_(std::move(journal)), thread_([this] { work(); })
{
}

JournalSyncer::~JournalSyncer()
{
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        arrived_.notify_one();
    }
    thread_.join();
}

core::Task<core::Result<void>> JournalSyncer::sync(ReservationJournal::Slot slot)
{
    const auto result = std::make_shared<core::Result<void>>();
    const auto push = [this, slot, result](Resumption waiting) {
        const std::lock_guard lock(mutex_);
        queue_.push_back({slot, result, std::move(waiting)});
        arrived_.notify_one();
    };
    co_await suspend(push);
    co_return std::move(*result);
}

void JournalSyncer::work()
{
    std::unique_lock lock(mutex_);
    for (;;) {
        arrived_.wait(lock, [this] { return closed_ || !queue_.empty(); });
        if (queue_.empty()) {
            return;
        }
        auto waits = std::exchange(queue_, {});
        lock.unlock();
        std::vector<ReservationJournal::Slot> slots;
        slots.reserve(waits.size());
        for (const auto& wait : waits) {
            slots.push_back(wait.slot);
        }
        const auto synced = journal_->sync(slots);
        for (auto& wait : waits) {
            *wait.result = synced;
            wait.waiting.resume();
        }
        lock.lock();
    }
}

}  // namespace llmproxy::storage
