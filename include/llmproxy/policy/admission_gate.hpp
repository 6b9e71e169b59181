#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace llmproxy::policy {

/// How much an AdmissionGate lets through.
struct AdmissionLimits {
    std::uint32_t active = 0;  ///< requests at once; 0 admits nothing
    std::uint32_t queued = 0;  ///< requests that may wait for a slot; 0: none waits
};

/// Caps how many requests are served at once, with a bounded first-in-first-out queue in front.
///
/// Decides only: it neither blocks nor waits. A queued caller gets its slot through a callback and
/// brings its own timer, which calls `leave_queue`.
///
/// Thread safety: every member may be called concurrently, callbacks included.
/// Lifetime: permits may outlive the gate; a queued callback is destroyed uncalled with the gate.
/// Invariant: nobody overtakes the queue, and each slot is held by exactly one Permit or free.
class AdmissionGate {
    struct State;

public:
    /// One slot. Destroying it, or `release`, hands the slot to the oldest waiter.
    /// Move-only; one thread at a time.
    class Permit {
    public:
        Permit() noexcept = default;
        Permit(Permit&& other) noexcept;
        Permit& operator=(Permit&& other) noexcept;
        ~Permit();

        [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
        /// Gives the slot back now. Does nothing when there is none.
        void release() noexcept;

    private:
        friend class AdmissionGate;
        explicit Permit(std::shared_ptr<State> state) noexcept;
        std::shared_ptr<State> state_;
    };

    /// Names one place in the queue.
    enum class Ticket : std::uint64_t { none = 0 };

    /// Takes the slot of a waiter whose turn has come. Runs on the thread that freed the slot,
    /// outside the gate's lock; must be short and must not throw (post to a strand). A permit it
    /// drops goes to the next.
    using Granted = std::function<void(Permit)>;

    enum class Verdict : std::uint8_t { admitted, queued, refused };

    /// What `enter` decided: `permit` is set when admitted, `ticket` when queued.
    struct Entry {
        Verdict verdict = Verdict::refused;
        Permit permit;
        Ticket ticket = Ticket::none;
    };

    explicit AdmissionGate(AdmissionLimits limits);
    AdmissionGate(const AdmissionGate&) = delete;
    AdmissionGate& operator=(const AdmissionGate&) = delete;
    ~AdmissionGate();

    /// A slot if one is free and nobody waits, else an empty permit. Never queues.
    [[nodiscard]] Permit try_enter();

    /// A slot, a place in the queue, or neither. `granted` is kept only when queued. It may be
    /// called before `enter` has returned the ticket.
    [[nodiscard]] Entry enter(Granted granted);

    /// Gives up a place in the queue (timeout, client gone).
    /// True: the callback will never be called. False: it was called or is being called, and the
    /// permit it received counts; whoever timed out must drop that permit.
    bool leave_queue(Ticket ticket) noexcept;

    /// Takes effect at once: more slots go to waiters; fewer are reached as permits come back. Who
    /// already waits stays in the queue.
    void set_limits(AdmissionLimits limits) noexcept;

    [[nodiscard]] std::uint32_t active() const noexcept;
    [[nodiscard]] std::uint32_t queued() const noexcept;

private:
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::policy
