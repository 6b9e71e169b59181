#include "llmproxy/storage/reservation_journal.hpp"

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

constexpr std::array<char, 8> kMagic{'L', 'L', 'M', 'P', 'R', 'S', 'V', '1'};
constexpr std::size_t kHeadSize = 4096;
constexpr std::uint32_t kSlotsPerWord = 64;
constexpr std::uint32_t kMaxSlots = 1U << 24U;

constexpr std::uint32_t kFree = 0;
constexpr std::uint32_t kReserved = 1;
constexpr std::uint32_t kSettled = 2;

constexpr std::uint8_t kStream = 1;
constexpr std::uint8_t kEstimated = 2;
constexpr std::uint8_t kPriced = 4;

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

std::uint32_t narrow(std::int64_t count) noexcept
{
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, kMost));
}

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
    raw.flags = record.stream ? kStream : 0;
    raw.request = record.request;
    raw.project = static_cast<std::int64_t>(record.project);
    raw.token = static_cast<std::int64_t>(record.token);
    raw.reserved_cost = record.cost.count;
    raw.reserved_tokens = record.tokens;
    raw.route.set(record.route);
    raw.model.set(record.model);
    raw.backend.set(record.backend);
    std::atomic_ref(raw.state).store(kReserved, std::memory_order_release);
    return *slot;
}

void ReservationJournal::settle(Slot slot, std::span<const UsageRow> rows) noexcept
{
    auto& raw = state_->at(slot);
    TokenCounts sum;
    core::NanoUsd cost;
    std::uint8_t flags = (raw.flags & kStream) | kPriced;
    for (const auto& row : rows) {
        sum.prompt += row.tokens.prompt;
        sum.cached += row.tokens.cached;
        sum.cache_write += row.tokens.cache_write;
        sum.completion += row.tokens.completion;
        sum.reasoning += row.tokens.reasoning;
        sum.audio_input += row.tokens.audio_input;
        sum.audio_output += row.tokens.audio_output;
        cost += row.cost;
        flags |= row.estimated ? kEstimated : 0;
        flags &= row.priced ? 0xff : static_cast<std::uint8_t>(~kPriced);
    }
    raw.counts = {narrow(sum.prompt),      narrow(sum.cached),    narrow(sum.cache_write),
                  narrow(sum.completion),  narrow(sum.reasoning), narrow(sum.audio_input),
                  narrow(sum.audio_output)};
    raw.cost = cost.count;
    raw.flags = flags;
    raw.attempts = static_cast<std::uint8_t>(std::min<std::size_t>(rows.size(), 255));
    if (!rows.empty()) {
        raw.status = rows.back().status;
        raw.outcome.set(rows.back().outcome);
        raw.backend.set(rows.back().backend);
    }
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
    const auto& raw = state_->at(slot);
    Found found;
    found.slot = slot;
    found.settled = raw.state == kSettled;
    auto& record = found.record;
    record.request = raw.request;
    record.project = static_cast<core::ProjectId>(raw.project);
    record.token = static_cast<core::TokenId>(raw.token);
    record.cost = {raw.reserved_cost};
    record.tokens = raw.reserved_tokens;
    record.route = raw.route.text();
    record.model = raw.model.text();
    record.backend = raw.backend.text();
    record.stream = (raw.flags & kStream) != 0;

    auto& row = found.row;
    row.request = record.request;
    row.project = record.project;
    row.token = record.token;
    row.route = record.route;
    row.requested_model = record.model;
    row.backend = record.backend;
    row.stream = record.stream;
    row.duration = core::Duration(-1);
    if (found.settled) {
        row.tokens = {raw.counts[0], raw.counts[1], raw.counts[2], raw.counts[3],
                      raw.counts[4], raw.counts[5], raw.counts[6]};
        row.cost = {raw.cost};
        row.estimated = (raw.flags & kEstimated) != 0;
        row.priced = (raw.flags & kPriced) != 0;
        row.status = raw.status;
        row.outcome = raw.outcome.text();
        found.attempts = raw.attempts;
    } else {
        row.tokens.prompt = record.tokens;
        row.cost = record.cost;
        row.estimated = true;
        row.outcome = kIndeterminate;
    }
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
