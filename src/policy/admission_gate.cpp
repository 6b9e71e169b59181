#include "llmproxy/policy/admission_gate.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace llmproxy::policy {

struct AdmissionGate::State {
    mutable std::mutex mutex;
    AdmissionLimits limits;
    std::uint32_t active = 0;
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
    while (state->active < state->limits.active && !state->waiters.empty()) {
        auto node = state->waiters.extract(state->waiters.begin());
        ++state->active;
        lock.unlock();
        node.mapped()(make_permit(state));
        node = {};
        lock.lock();
    }
    state->granting = false;
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
    {
        const std::lock_guard lock(state->mutex);
        --state->active;
        if (state->granting || state->waiters.empty()) {
            return;
        }
    }
    grant_waiters(state, [](std::shared_ptr<State> owner) { return Permit(std::move(owner)); });
}

AdmissionGate::AdmissionGate(AdmissionLimits limits) : state_(std::make_shared<State>())
{
    state_->limits = limits;
}

AdmissionGate::~AdmissionGate()
{
    std::map<std::uint64_t, Granted> abandoned;
    const std::lock_guard lock(state_->mutex);
    state_->limits = {};
    abandoned.swap(state_->waiters);
}

AdmissionGate::Permit AdmissionGate::try_enter()
{
    const std::lock_guard lock(state_->mutex);
    if (state_->active >= state_->limits.active || !state_->waiters.empty()) {
        return {};
    }
    ++state_->active;
    return Permit(state_);
}

AdmissionGate::Entry AdmissionGate::enter(Granted granted)
{
    Entry entry;
    const std::lock_guard lock(state_->mutex);
    if (state_->active < state_->limits.active && state_->waiters.empty()) {
        ++state_->active;
        entry.verdict = Verdict::admitted;
        entry.permit = Permit(state_);
    } else if (state_->waiters.size() < state_->limits.queued) {
        const auto ticket = ++state_->last_ticket;
        state_->waiters.emplace(ticket, std::move(granted));
        entry.verdict = Verdict::queued;
        entry.ticket = static_cast<Ticket>(ticket);
    }
    return entry;
}

bool AdmissionGate::leave_queue(Ticket ticket) noexcept
{
    decltype(state_->waiters)::node_type abandoned;  // what it captured is freed outside the lock
    const std::lock_guard lock(state_->mutex);
    abandoned = state_->waiters.extract(static_cast<std::uint64_t>(ticket));
    return !abandoned.empty();
}

void AdmissionGate::set_limits(AdmissionLimits limits) noexcept
{
    {
        const std::lock_guard lock(state_->mutex);
        state_->limits = limits;
    }
    grant_waiters(state_, [](std::shared_ptr<State> owner) { return Permit(std::move(owner)); });
}

std::uint32_t AdmissionGate::active() const noexcept
{
    const std::lock_guard lock(state_->mutex);
    return state_->active;
}

std::uint32_t AdmissionGate::queued() const noexcept
{
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::uint32_t>(state_->waiters.size());
}

}  // namespace llmproxy::policy
