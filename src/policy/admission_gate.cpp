#include "llmproxy/policy/admission_gate.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace llmproxy::policy {

/// As long as nobody waits, slots are taken and given back by the word alone. The first who has to wait marks the word;
/// from then on whoever gives a slot back sees the mark and hands the slot on under the mutex, until the queue is empty.
struct AdmissionGate::State {
    static constexpr std::uint64_t kWaiting = std::uint64_t{1} << 63;

    static std::uint32_t active_of(std::uint64_t word) noexcept
    {
        return static_cast<std::uint32_t>(word);
    }

    /// A slot, if one is free and nobody waits.
    bool try_take() noexcept
    {
        auto seen = word.load(std::memory_order_relaxed);
        do {
            if ((seen & kWaiting) != 0 ||
                active_of(seen) >= limit.load(std::memory_order_relaxed)) {
                return false;
            }
        } while (!word.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed));
        return true;
    }

    /// Gives a slot back; false: somebody may wait for it, so that it has to be done under the mutex.
    bool try_give() noexcept
    {
        auto seen = word.load(std::memory_order_relaxed);
        do {
            if ((seen & kWaiting) != 0) {
                return false;
            }
        } while (!word.compare_exchange_weak(seen, seen - 1, std::memory_order_release,
                                             std::memory_order_relaxed));
        return true;
    }

    std::atomic<std::uint64_t> word{0};  // kWaiting, and the slots that are taken
    std::atomic<std::uint32_t> limit{0};

    mutable std::mutex mutex;
    std::uint32_t most_queued = 0;
    std::uint64_t last_ticket = 0;
    bool granting = false;                     // some thread is in `grant_waiters`
    std::map<std::uint64_t, Granted> waiters;  // tickets grow, so the first is the oldest
};

namespace {

/// Hands free slots to waiters, oldest first. One thread does so at a time; a release from inside a
/// callback, or from another thread meanwhile, is picked up by that thread, so nothing recurses.
template <typename State, typename MakePermit>
void grant_waiters(const std::shared_ptr<State>& state, MakePermit make_permit) noexcept
{
    std::unique_lock lock(state->mutex);
    if (state->granting) {
        return;
    }
    state->granting = true;
    while (!state->waiters.empty() && State::active_of(state->word.load()) < state->limit.load()) {
        auto node = state->waiters.extract(state->waiters.begin());
        state->word.fetch_add(1);  // marked: nobody else takes one meanwhile
        lock.unlock();
        node.mapped()(make_permit(state));
        node = {};
        lock.lock();
    }
    state->granting = false;
    if (state->waiters.empty()) {
        state->word.fetch_and(~State::kWaiting);
    }
}

}  // namespace

AdmissionGate::Permit::Permit(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

AdmissionGate::Permit::Permit(Permit&& other) noexcept : state_(std::move(other.state_)) {}

AdmissionGate::Permit& AdmissionGate::Permit::operator=(Permit&& other) noexcept
{
    if (this != &other) {
        release();
        state_ = std::move(other.state_);
    }
    return *this;
}

AdmissionGate::Permit::~Permit()
{
    release();
}

void AdmissionGate::Permit::release() noexcept
{
    const auto state = std::exchange(state_, nullptr);
    if (!state) {
        return;
    }
    if (state->try_give()) {
        return;
    }
    {
        const std::lock_guard lock(state->mutex);
        state->word.fetch_sub(1);
        if (state->granting) {
            return;
        }
    }
    grant_waiters(state, [](std::shared_ptr<State> owner) { return Permit(std::move(owner)); });
}

AdmissionGate::AdmissionGate(AdmissionLimits limits) : state_(std::make_shared<State>())
{
    state_->limit = limits.active;
    state_->most_queued = limits.queued;
}

AdmissionGate::~AdmissionGate()
{
    std::map<std::uint64_t, Granted> abandoned;
    const std::lock_guard lock(state_->mutex);
    state_->limit = 0;
    state_->most_queued = 0;
    abandoned.swap(state_->waiters);
}

AdmissionGate::Permit AdmissionGate::try_enter()
{
    return state_->try_take() ? Permit(state_) : Permit();
}

AdmissionGate::Entry AdmissionGate::enter(Granted granted)
{
    Entry entry;
    const std::lock_guard lock(state_->mutex);
    // Marked first: a slot given back after this look goes through `grant_waiters`, which waits for the mutex.
    const auto seen = state_->word.fetch_or(State::kWaiting);
    if (state_->waiters.empty() && State::active_of(seen) < state_->limit.load()) {
        state_->word.fetch_add(1);
        entry.verdict = Verdict::admitted;
        entry.permit = Permit(state_);
    } else if (state_->waiters.size() < state_->most_queued) {
        const auto ticket = ++state_->last_ticket;
        state_->waiters.emplace(ticket, std::move(granted));
        entry.verdict = Verdict::queued;
        entry.ticket = static_cast<Ticket>(ticket);
    }
    if (state_->waiters.empty() && !state_->granting) {
        state_->word.fetch_and(~State::kWaiting);
    }
    return entry;
}

bool AdmissionGate::leave_queue(Ticket ticket) noexcept
{
    decltype(state_->waiters)::node_type abandoned;  // what it captured is freed outside the lock
    const std::lock_guard lock(state_->mutex);
    abandoned = state_->waiters.extract(static_cast<std::uint64_t>(ticket));
    if (state_->waiters.empty() && !state_->granting) {
        state_->word.fetch_and(~State::kWaiting);
    }
    return !abandoned.empty();
}

void AdmissionGate::set_limits(AdmissionLimits limits) noexcept
{
    {
        const std::lock_guard lock(state_->mutex);
        state_->limit = limits.active;
        state_->most_queued = limits.queued;
    }
    grant_waiters(state_, [](std::shared_ptr<State> owner) { return Permit(std::move(owner)); });
}

std::uint32_t AdmissionGate::active() const noexcept
{
    return State::active_of(state_->word.load());
}

std::uint32_t AdmissionGate::queued() const noexcept
{
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::uint32_t>(state_->waiters.size());
}

}  // namespace llmproxy::policy
