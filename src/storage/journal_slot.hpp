#pragma once

#include "llmproxy/core/ids.hpp"
#include "llmproxy/storage/reservation_journal.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace llmproxy::storage {

/// \name The journal's file: a head, then slots
/// @{
inline constexpr std::array<char, 8> kMagic{'L', 'L', 'M', 'P', 'R', 'S', 'V', '1'};
inline constexpr std::size_t kHeadSize = 4096;
inline constexpr std::uint32_t kSlotsPerWord = 64;
inline constexpr std::uint32_t kMaxSlots = 1U << 24U;

inline constexpr std::uint32_t kFree = 0;
inline constexpr std::uint32_t kReserved = 1;
inline constexpr std::uint32_t kSettled = 2;

struct FileHead {
    std::array<char, 8> magic;
    std::uint32_t slot_size;
    std::uint32_t slots;
};

/// A text cut to the room that there is.
template <std::size_t Room>
struct ShortText {
    std::uint8_t size;
    std::array<char, Room> bytes;

    // The size is last on writing: a process that dies in between leaves an empty text.
    void set(std::string_view text) noexcept
    {
        const std::atomic_ref<std::uint8_t> length(size);
        length.store(0, std::memory_order_release);
        const auto kept = std::min(text.size(), Room);
        if (kept > 0) {
            std::memcpy(bytes.data(), text.data(), kept);
        }
        length.store(static_cast<std::uint8_t>(kept), std::memory_order_release);
    }
    [[nodiscard]] std::string text() const
    {
        return {bytes.data(), std::min<std::size_t>(size, Room)};
    }
};

/// One slot as it is in the file, in the machine's byte order.
struct RawSlot {
    std::uint32_t state;  // of these, the last written
    std::uint16_t status;
    std::uint8_t flags;
    std::uint8_t attempts;
    core::Uuid request;
    std::int64_t project;
    std::int64_t token;
    std::int64_t reserved_cost;
    std::int64_t reserved_tokens;
    std::int64_t cost;
    std::array<std::uint32_t, 7> counts;
    ShortText<23> route;
    ShortText<63> model;
    ShortText<31> backend;
    ShortText<31> outcome;
    std::array<std::uint8_t, 12> unused;
};
static_assert(sizeof(RawSlot) == 256);
static_assert(std::is_trivially_copyable_v<RawSlot>);

/// Everything but the state, which is stored after it.
void put(RawSlot& raw, const ReservationRecord& record) noexcept;
void put(RawSlot& raw, std::span<const UsageRow> rows) noexcept;
/// What a slot holds; which one it is, the caller knows.
[[nodiscard]] ReservationJournal::Found read(const RawSlot& raw);
/// @}

}  // namespace llmproxy::storage
