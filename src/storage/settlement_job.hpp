#pragma once

#include "llmproxy/storage/reservation_journal.hpp"
#include "llmproxy/storage/usage.hpp"
#include "resumption.hpp"
#include "writer.hpp"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace llmproxy::storage {

/// A reservation's slot, given back when it is no longer needed.
struct HeldSlot {
    std::shared_ptr<ReservationJournal> journal;
    ReservationJournal::Slot slot = 0;
};

/// Writes a request's rows; gives its slot back when that is durable.
class SettlementJob : public WriteJob {
public:
    SettlementJob(std::optional<HeldSlot> held, std::vector<UsageRow> rows)
        : WriteJob(Kind::settlement), held_(std::move(held)), rows_(std::move(rows))
    {
    }
    [[nodiscard]] bool always_fits() const noexcept override { return held_.has_value(); }
    core::Result<void> apply(WriteContext& context) override
    {
        return context.usage.add(context.database, rows_);
    }
    void conclude(const core::Result<void>& outcome) override
    {
        if (outcome && held_) {
            held_->journal->free(held_->slot);
            held_.reset();
        }
        if (!std::exchange(told_, true)) {  // later on nobody waits, but may be reading it
            result_ = outcome;
            waiting_.resume();
        }
    }

    void wait_with(Resumption waiting) noexcept { waiting_ = std::move(waiting); }
    /// What it came to at first: for who waited.
    [[nodiscard]] core::Result<void> result() const { return result_; }

protected:
    [[nodiscard]] const std::vector<UsageRow>& rows() const noexcept { return rows_; }

private:
    std::optional<HeldSlot> held_;
    const std::vector<UsageRow> rows_;
    bool told_ = false;
    core::Result<void> result_;
    Resumption waiting_;
};

/// The same for a reservation that nobody settled: only if no row of the request is there.
class RecoveryJob final : public SettlementJob {
public:
    RecoveryJob(HeldSlot held, UsageRow row)
        : SettlementJob(std::move(held), std::vector<UsageRow>{std::move(row)})
    {
    }
    core::Result<void> apply(WriteContext& context) override;
};

}  // namespace llmproxy::storage
