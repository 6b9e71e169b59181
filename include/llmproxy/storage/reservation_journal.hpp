#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/storage/reservation.hpp"
#include "llmproxy/storage/usage.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmproxy::storage {

/// Reservations in a file that is mapped into memory, so that noting one takes no system call and
/// yet survives the end of the process.
///
/// The file is allocated in whole beforehand: writing to it cannot run out of space. It has a head
/// and slots of 256 bytes; a slot's state word is written last, so that a slot is either as it was
/// or complete.
///
/// Thread safety: every member may be called concurrently; each slot by one thread at a time.
/// Nothing blocks but `sync`. Lifetime: the file stays. One process at a time: whoever holds the
/// store's lock file.
class ReservationJournal {
public:
    using Slot = std::uint32_t;

    /// What was found in an occupied slot.
    struct Found {
        Slot slot = 0;
        ReservationRecord record;
        bool settled =
            false;  ///< `row` says what it cost; else nobody knows, and `row` has what was reserved
        UsageRow row;                ///< its first attempt stands for all
        std::uint32_t attempts = 1;  ///< when settled; 0: it cost nothing
    };

    /// Opens or makes the file. A file with more slots keeps them.
    /// Fails with Errc::store_unavailable when it cannot be made or is not such a file.
    [[nodiscard]] static core::Result<std::unique_ptr<ReservationJournal>>
    open(const std::string& path, std::uint32_t slots);

    /// How many slots of a file that nobody has open are occupied; 0 when there is none.
    [[nodiscard]] static core::Result<std::uint32_t> count(const std::string& path);

    ReservationJournal(const ReservationJournal&) = delete;
    ReservationJournal& operator=(const ReservationJournal&) = delete;
    ~ReservationJournal();

    /// Takes a free slot. Fails with Errc::overloaded when there is none.
    [[nodiscard]] core::Result<Slot> occupy(const ReservationRecord& record) noexcept;

    /// Notes what the request cost in the end, in case that its rows cannot be written for now:
    /// their sums, and the last row's outcome and status.
    void settle(Slot slot, std::span<const UsageRow> rows) noexcept;

    void note_backend(Slot slot, std::string_view backend) noexcept;

    void free(Slot slot) noexcept;

    /// What one slot holds.
    [[nodiscard]] Found look(Slot slot) const;

    /// What was occupied when the file was opened, oldest request first.
    [[nodiscard]] const std::vector<Found>& left_over() const noexcept;

    /// Waits until the slots are on the disk.
    [[nodiscard]] core::Result<void> sync(std::span<const Slot> slots) noexcept;

    [[nodiscard]] std::uint32_t slots() const noexcept;
    [[nodiscard]] std::uint32_t occupied() const noexcept;

private:
    struct State;
    explicit ReservationJournal(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace llmproxy::storage
