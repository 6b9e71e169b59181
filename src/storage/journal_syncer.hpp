#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/storage/reservation_journal.hpp"
#include "resumption.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace llmproxy::storage {

/// Brings slots of the journal to the disk, for `durability: power`: one thread, which syncs at
/// once all that came while it synced. Beside the writer, so that no reservation waits for a
/// commit.
///
/// Thread safety: every member may be called concurrently. Lifetime: the destructor syncs what
/// waits.
class JournalSyncer {
public:
    explicit JournalSyncer(std::shared_ptr<ReservationJournal> journal);
    JournalSyncer(const JournalSyncer&) = delete;
    JournalSyncer& operator=(const JournalSyncer&) = delete;
    ~JournalSyncer();

    /// Returns when the slot is on the disk. Fails with Errc::store_unavailable.
    core::Task<core::Result<void>> sync(ReservationJournal::Slot slot);

private:
    struct Wait {
        ReservationJournal::Slot slot = 0;
        std::shared_ptr<core::Result<void>> result;
        Resumption waiting;
    };

    void work();

    const std::shared_ptr<ReservationJournal> journal_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable arrived_;
    std::vector<Wait> queue_;
    bool closed_ = false;
    std::thread thread_;
};

}  // namespace llmproxy::storage
