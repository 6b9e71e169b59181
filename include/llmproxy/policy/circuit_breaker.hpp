#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/policy/settings.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace llmproxy::policy {

enum class CircuitState : std::uint8_t { closed, open, half_open };

/// Why a circuit changed.
enum class CircuitCause : std::uint8_t {
    failures,          ///< closed to open: `failure_threshold` in a row
    time_over,         ///< open to half-open
    probe_failed,      ///< half-open to open
    probes_succeeded,  ///< half-open to closed
    operator_opened,
    operator_closed,
    operator_reset,
    switched_off  ///< by configuration
};

/// What an operator can do to a circuit: hold it open, hold it closed, or let it work by itself again.
enum class CircuitOrder : std::uint8_t { open, close, reset };

[[nodiscard]] std::string_view to_string(CircuitState state) noexcept;
[[nodiscard]] std::string_view to_string(CircuitCause cause) noexcept;
[[nodiscard]] std::string_view to_string(CircuitOrder order) noexcept;

/// Keeps requests away from a backend that fails, and finds out cheaply when it is back. One per backend.
///
/// Closed: all pass; `failure_threshold` failures with no completed exchange between them open it. Open: none passes, for
/// `open_timeout` times the number of openings in a row, at most `longest_open`. Half-open: one request at a time is let
/// through as a probe; `success_threshold` successes close it and end the row of openings, one failure opens it again.
/// Each change of state begins a generation; what permits of an earlier one report is dropped.
///
/// Thread safety: every member may be called concurrently. While closed and while open, `try_acquire` takes no lock.
/// Lifetime: copies and permits share the state and may outlive the breaker; `clock` must outlive all.
class CircuitBreaker {
    struct Core;

public:
    /// Leave to send one request. Reports what became of it; without a report, and when it is destroyed, it counts as
    /// neither failure nor success (abort, client gone, shed here) and a probe's place is free again.
    /// Move-only; one thread at a time.
    class Permit {
    public:
        Permit() noexcept = default;
        Permit(Permit&& other) noexcept;
        Permit& operator=(Permit&& other) noexcept;
        ~Permit();

        [[nodiscard]] explicit operator bool() const noexcept { return core_ != nullptr; }
        [[nodiscard]] bool is_probe() const noexcept { return probe_; }

        /// The head of a reply has come (of an error frame: with the status it stands for). 500 and above is a failure
        /// and ends the permit. 429 gives it back. Below: a probe has succeeded; its place is free for the next.
        void head(unsigned status) noexcept;
        /// The reply was relayed to its end: ends the run of failures if its status was below 400.
        void completed() noexcept;
        /// DNS, connect, TLS, reset, header timeout, no HTTP, or a reply that was cut off.
        void failed() noexcept;
        /// Neither failure nor success.
        void release() noexcept;

    private:
        friend class CircuitBreaker;
        Permit(std::shared_ptr<Core> core, std::uint64_t generation, bool probe) noexcept;
        std::shared_ptr<Core> core_;
        std::uint64_t generation_ = 0;
        unsigned status_ = 0;
        bool probe_ = false;
    };

    /// One change of state.
    struct Transition {
        core::SystemTime at;
        CircuitState from = CircuitState::closed;
        CircuitState to = CircuitState::closed;
        CircuitCause cause = CircuitCause::failures;
    };

    /// For operators: `/readyz`, logs, management.
    struct Report {
        CircuitState state = CircuitState::closed;
        bool held = false;                ///< by an operator: does not change by itself
        std::uint32_t failures = 0;       ///< in a row, while closed
        std::uint32_t openings = 0;       ///< in a row
        core::Duration probe_in{0};       ///< open: until the next probe
        std::vector<Transition> history;  ///< oldest first, at most kHistory
        std::array<std::uint64_t, 3>
            entered{};  ///< changes since it was made, by the state they came to
    };

    static constexpr std::size_t kHistory = 32;

    CircuitBreaker(CircuitSettings settings, const core::Clock& clock);

    /// Leave for one request, or an empty permit while open or while the probe is out.
    [[nodiscard]] Permit try_acquire() noexcept;
    /// Whether `try_acquire` would give a permit now; for choosing a backend. Takes none and changes nothing.
    [[nodiscard]] bool would_admit() const noexcept;
    /// How long until a request may pass, for Retry-After: 0 while one may or while a probe is out.
    [[nodiscard]] core::Duration probe_in() const noexcept;

    [[nodiscard]] CircuitState state() const noexcept;
    [[nodiscard]] Report report() const;

    /// Opens it until `reset` or `hold_closed`.
    void hold_open() noexcept;
    /// Closes it and lets no failure open it until `reset` or `hold_open`.
    void hold_closed() noexcept;
    /// Closes it, forgets failures and openings, and lets it work by itself.
    void reset() noexcept;
    /// One of these three.
    void obey(CircuitOrder order) noexcept;
    /// Takes effect at once, but for the time that an open circuit stays open. Switched off, it closes.
    void configure(const CircuitSettings& settings) noexcept;

private:
    std::shared_ptr<Core> core_;
};

}  // namespace llmproxy::policy
