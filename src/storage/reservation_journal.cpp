#include "llmproxy/storage/reservation_journal.hpp"

#include "journal_slot.hpp"
#include "store_error.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace llmproxy::storage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

core::Result<int> open_file(const std::string& path)
{
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        return system_failure(errno, "opening " + path);
    }
    return descriptor;
}

/// Closes the descriptor: the mapping does not need it.
class Descriptor {
public:
    explicit Descriptor(int number) noexcept : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor()
    {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    [[nodiscard]] int number() const noexcept { return number_; }

private:
    int number_;
};

core::Result<FileHead> read_head(int descriptor, const std::string& path)
{
    FileHead head{};
    struct stat facts {};
    if (::fstat(descriptor, &facts) != 0 || ::pread(descriptor, &head, sizeof head, 0) < 0) {
        return system_failure(errno, "reading " + path);
    }
    if (head.magic == std::array<char, 8>{}) {  // new, or died while being made
        return FileHead{kMagic, sizeof(RawSlot), 0};
    }
    if (head.magic != kMagic || head.slot_size != sizeof(RawSlot) || head.slots > kMaxSlots) {
        return store_failure(StoreState::failed, path + " is not a journal of this program");
    }
    return head;
}

}  // namespace

struct ReservationJournal::State {
    std::byte* base = nullptr;
    std::size_t size = 0;
    std::uint32_t slots = 0;
    std::unique_ptr<std::atomic<std::uint64_t>[]> taken;  // a bit for each slot
    std::vector<Found> left_over;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State()
    {
        if (base != nullptr) {
            ::munmap(base, size);
        }
    }

    [[nodiscard]] RawSlot& at(Slot slot) const noexcept
    {
        return reinterpret_cast<RawSlot*>(base + kHeadSize)[slot];
    }
    [[nodiscard]] std::uint32_t words() const noexcept { return slots / kSlotsPerWord; }

    core::Result<void> map(const std::string& path, std::uint32_t wanted)
    {
        const auto opened = open_file(path);
        if (!opened) {
            return opened.error();
        }
        const Descriptor file(*opened);
        const auto head = read_head(file.number(), path);
        if (!head) {
            return head.error();
        }
        slots = std::max(head->slots, wanted);
        size = kHeadSize + std::size_t{slots} * sizeof(RawSlot);
        // Every block is there before it is mapped: a write into a hole of a full disk is a SIGBUS.
        if (const int error = ::posix_fallocate(file.number(), 0, static_cast<off_t>(size))) {
            return system_failure(error, "allocating " + path);
        }
        const FileHead grown{kMagic, sizeof(RawSlot), slots};
        if (::pwrite(file.number(), &grown, sizeof grown, 0) != sizeof grown) {
            return system_failure(errno, "writing " + path);
        }
        void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                              file.number(), 0);
        if (mapped == MAP_FAILED) {
            return system_failure(errno, "mapping " + path);
        }
        base = static_cast<std::byte*>(mapped);
        return {};
    }

    [[nodiscard]] std::optional<Slot> take() noexcept
    {
        static std::atomic<std::uint32_t> threads{0};
        thread_local const std::uint32_t shard = threads.fetch_add(1, std::memory_order_relaxed);
        for (std::uint32_t i = 0; i < words(); ++i) {
            const auto word = (shard + i) % words();
            auto seen = taken[word].load(std::memory_order_relaxed);
            while (~seen != 0) {
                const auto bit = static_cast<std::uint32_t>(std::countr_one(seen));
                const auto mask = std::uint64_t{1} << bit;
                seen = taken[word].fetch_or(mask, std::memory_order_acquire);
                if ((seen & mask) == 0) {
                    return word * kSlotsPerWord + bit;
                }
            }
        }
        return std::nullopt;
    }
};

ReservationJournal::ReservationJournal(std::unique_ptr<State> state) noexcept
    : state_(std::move(state))
{
}

ReservationJournal::~ReservationJournal() = default;

core::Result<std::unique_ptr<ReservationJournal>> ReservationJournal::open(const std::string& path,
                                                                           std::uint32_t slots)
{
    auto state = std::make_unique<State>();
    const auto wanted = std::clamp(slots, kSlotsPerWord, kMaxSlots);
    if (auto mapped =
            state->map(path, (wanted + kSlotsPerWord - 1) / kSlotsPerWord * kSlotsPerWord);
        !mapped) {
        return mapped.error();
    }
    state->taken = std::make_unique<std::atomic<std::uint64_t>[]>(state->words());
    auto journal = std::unique_ptr<ReservationJournal>(new ReservationJournal(std::move(state)));
    auto& made = *journal->state_;
    for (Slot slot = 0; slot < made.slots; ++slot) {
        const auto word = made.at(slot).state;
        if (word == kReserved || word == kSettled) {
            made.taken[slot / kSlotsPerWord] |= std::uint64_t{1} << (slot % kSlotsPerWord);
            made.left_over.push_back(journal->look(slot));
        } else {
            made.at(slot).state = kFree;
        }
    }
    std::sort(made.left_over.begin(), made.left_over.end(),
              [](const Found& a, const Found& b) { return a.record.request < b.record.request; });
    return journal;
}

core::Result<std::uint32_t> ReservationJournal::count(const std::string& path)
{
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.number() < 0) {
        return errno == ENOENT ? core::Result<std::uint32_t>(0)
                               : system_failure(errno, "opening " + path);
    }
    const auto head = read_head(file.number(), path);
    if (!head) {
        return head.error();
    }
    std::uint32_t occupied = 0;
    RawSlot raw{};
    for (std::uint32_t slot = 0; slot < head->slots; ++slot) {
        const auto at = static_cast<off_t>(kHeadSize + std::size_t{slot} * sizeof raw);
        if (::pread(file.number(), &raw, sizeof raw, at) != sizeof raw) {
            return system_failure(EIO, "reading " + path);
        }
        occupied += raw.state == kReserved || raw.state == kSettled ? 1 : 0;
    }
    return occupied;
}

core::Result<ReservationJournal::Slot>
ReservationJournal::occupy(const ReservationRecord& record) noexcept
{
    const auto slot = state_->take();
    if (!slot) {
        return Failure(Errc::overloaded, Origin::self, "no reservation is free");
    }
    auto& raw = state_->at(*slot);
    put(raw, record);
    std::atomic_ref(raw.state).store(kReserved, std::memory_order_release);
    return *slot;
}

void ReservationJournal::settle(Slot slot, std::span<const UsageRow> rows) noexcept
{
    auto& raw = state_->at(slot);
    put(raw, rows);
    std::atomic_ref(raw.state).store(kSettled, std::memory_order_release);
}

void ReservationJournal::note_backend(Slot slot, std::string_view backend) noexcept
{
    state_->at(slot).backend.set(backend);
}

void ReservationJournal::free(Slot slot) noexcept
{
    std::atomic_ref(state_->at(slot).state).store(kFree, std::memory_order_release);
    state_->taken[slot / kSlotsPerWord].fetch_and(~(std::uint64_t{1} << (slot % kSlotsPerWord)),
                                                  std::memory_order_release);
}

ReservationJournal::Found ReservationJournal::look(Slot slot) const
{
    auto found = read(state_->at(slot));
    found.slot = slot;
    return found;
}

const std::vector<ReservationJournal::Found>& ReservationJournal::left_over() const noexcept
{
    return state_->left_over;
}

core::Result<void> ReservationJournal::sync(std::span<const Slot> slots) noexcept
{
    if (slots.empty()) {
        return {};
    }
    const auto [low, high] = std::minmax_element(slots.begin(), slots.end());
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = (kHeadSize + *low * sizeof(RawSlot)) / page * page;
    const auto end = kHeadSize + (std::size_t{*high} + 1) * sizeof(RawSlot);
    if (::msync(state_->base + begin, end - begin, MS_SYNC) != 0) {
        return system_failure(errno, "syncing the journal of reservations");
    }
    return {};
}

std::uint32_t ReservationJournal::slots() const noexcept
{
    return state_->slots;
}

std::uint32_t ReservationJournal::occupied() const noexcept
{
    int count = 0;
    for (std::uint32_t word = 0; word < state_->words(); ++word) {
        count += std::popcount(state_->taken[word].load(std::memory_order_relaxed));
    }
    return static_cast<std::uint32_t>(count);
}

}  // namespace llmproxy::storage
