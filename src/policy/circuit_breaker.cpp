#include "llmproxy/policy/circuit_breaker.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <mutex>
#include <utility>

namespace llmproxy::policy {

using enum CircuitState;

/// Written under the mutex. What the unlocked paths read is atomic: the word, when a probe may go, and whether one is out.
struct CircuitBreaker::Core {
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

    Core(CircuitSettings the_settings, const core::Clock& the_clock)
        : settings(the_settings), clock(the_clock)
    {
    }

    [[nodiscard]] static std::uint64_t pack(std::uint64_t generation, CircuitState state) noexcept
    {
        return generation << 2 | static_cast<std::uint64_t>(state);
    }
    [[nodiscard]] static CircuitState state_of(std::uint64_t packed) noexcept
    {
        return static_cast<CircuitState>(packed & 3);
    }
    [[nodiscard]] std::uint64_t generation() const noexcept { return word.load() >> 2; }
    [[nodiscard]] std::int64_t now() const noexcept
    {
        return clock.now().time_since_epoch().count();
    }

    void change(CircuitState to, CircuitCause cause) noexcept
    {
        const auto before = word.load();
        history.at(changes++ % kHistory) = {clock.wall(), state_of(before), to, cause};
        ++entered.at(static_cast<std::size_t>(to));
        failures.store(0);
        successes = 0;
        probe_out.store(false);
        word.store(pack((before >> 2) + 1, to));
    }

    void open(CircuitCause cause) noexcept
    {
        openings = openings == std::numeric_limits<std::uint32_t>::max() ? openings : openings + 1;
        const auto longest = std::max<std::int64_t>(settings.longest_open.count(), 0);
        const auto once = std::clamp<std::int64_t>(settings.open_timeout.count(), 0, longest);
        const bool at_cap = once != 0 && openings > longest / once;
        probe_at.store(now() + (at_cap ? longest : once * openings));
        change(CircuitState::open, cause);
    }

    void close(CircuitCause cause) noexcept
    {
        openings = 0;
        change(closed, cause);
    }

    void note_failure(std::uint64_t of_generation) noexcept
    {
        const std::lock_guard lock(mutex);
        if (of_generation != generation() || held || !settings.enabled) {
            return;
        }
        if (state_of(word.load()) == half_open) {
            open(CircuitCause::probe_failed);
        } else if (failures.fetch_add(1) + 1 >= settings.failure_threshold) {
            open(CircuitCause::failures);
        }
    }

    void note_probe_success(std::uint64_t of_generation) noexcept
    {
        const std::lock_guard lock(mutex);
        if (of_generation != generation()) {
            return;
        }
        probe_out.store(false);
        if (++successes >= settings.success_threshold) {
            close(CircuitCause::probes_succeeded);
        }
    }

    void note_completion(std::uint64_t of_generation) noexcept
    {
        if (failures.load(std::memory_order_relaxed) == 0) {
            return;  // the normal case costs one load
        }
        const std::lock_guard lock(mutex);
        if (of_generation == generation()) {
            failures.store(0);
        }
    }

    void return_probe(std::uint64_t of_generation) noexcept
    {
        const std::lock_guard lock(mutex);
        if (of_generation == generation()) {
            probe_out.store(false);
        }
    }

    mutable std::mutex mutex;
    CircuitSettings settings;
    const core::Clock& clock;
    std::atomic<std::uint64_t> word{pack(0, closed)};  // generation and state
    std::atomic<std::int64_t> probe_at{0};             // ns of the steady clock; kNever: held open
    std::atomic<std::uint32_t> failures{0};
    std::atomic<bool> probe_out{false};
    std::uint32_t successes = 0;
    std::uint32_t openings = 0;
    bool held = false;
    std::array<Transition, kHistory> history;
    std::size_t changes = 0;
    std::array<std::uint64_t, 3> entered{};  // by state
};

CircuitBreaker::Permit::Permit(std::shared_ptr<Core> core, std::uint64_t generation,
                               bool probe) noexcept
    : core_(std::move(core)), generation_(generation), probe_(probe)
{
}

CircuitBreaker::Permit::Permit(Permit&& other) noexcept
    : core_(std::move(other.core_)), generation_(other.generation_), status_(other.status_),
      probe_(std::exchange(other.probe_, false))
{
}

CircuitBreaker::Permit& CircuitBreaker::Permit::operator=(Permit&& other) noexcept
{
    if (this != &other) {
        release();
        core_ = std::move(other.core_);
        generation_ = other.generation_;
        status_ = other.status_;
        probe_ = std::exchange(other.probe_, false);
    }
    return *this;
}

CircuitBreaker::Permit::~Permit()
{
    release();
}

void CircuitBreaker::Permit::head(unsigned status) noexcept
{
    if (!core_) {
        return;
    }
    status_ = status;
    if (status >= 500) {
        failed();
    } else if (status == 429) {
        release();
    } else if (std::exchange(probe_, false)) {
        core_->note_probe_success(generation_);
    }
}

void CircuitBreaker::Permit::completed() noexcept
{
    if (core_ && status_ < 400) {
        core_->note_completion(generation_);
    }
    release();
}

void CircuitBreaker::Permit::failed() noexcept
{
    probe_ = false;
    if (const auto core = std::exchange(core_, nullptr)) {
        core->note_failure(generation_);
    }
}

void CircuitBreaker::Permit::release() noexcept
{
    const auto core = std::exchange(core_, nullptr);
    if (std::exchange(probe_, false) && core) {
        core->return_probe(generation_);
    }
}

CircuitBreaker::CircuitBreaker(CircuitSettings settings, const core::Clock& clock)
    : core_(std::make_shared<Core>(settings, clock))
{
}

CircuitBreaker::Permit CircuitBreaker::try_acquire() noexcept
{
    auto& core = *core_;
    const auto word = core.word.load(std::memory_order_acquire);
    if (Core::state_of(word) == closed) {
        return {core_, word >> 2, false};
    }
    if (!would_admit()) {
        return {};
    }
    const std::lock_guard lock(core.mutex);
    if (Core::state_of(core.word.load()) == open) {
        if (core.probe_at.load() > core.now()) {
            return {};
        }
        core.change(half_open, CircuitCause::time_over);
    }
    if (Core::state_of(core.word.load()) == closed) {
        return {core_, core.generation(), false};
    }
    if (core.probe_out.exchange(true)) {
        return {};
    }
    return {core_, core.generation(), true};
}

bool CircuitBreaker::would_admit() const noexcept
{
    switch (state()) {
    case closed: return true;
    case open: return core_->probe_at.load(std::memory_order_acquire) <= core_->now();
    case half_open: break;
    }
    return !core_->probe_out.load(std::memory_order_acquire);
}

core::Duration CircuitBreaker::probe_in() const noexcept
{
    if (state() != open) {
        return core::Duration(0);
    }
    const auto at = core_->probe_at.load(std::memory_order_acquire);
    return core::Duration(at == Core::kNever ? at : std::max<std::int64_t>(at - core_->now(), 0));
}

CircuitState CircuitBreaker::state() const noexcept
{
    return Core::state_of(core_->word.load(std::memory_order_acquire));
}

CircuitBreaker::Report CircuitBreaker::report() const
{
    Report report;
    const std::lock_guard lock(core_->mutex);
    report.state = Core::state_of(core_->word.load());
    report.held = core_->held;
    report.failures = core_->failures.load();
    report.openings = core_->openings;
    report.probe_in = probe_in();
    report.entered = core_->entered;
    const auto first = core_->changes - std::min(core_->changes, kHistory);
    for (auto i = first; i < core_->changes; ++i) {
        report.history.push_back(core_->history.at(i % kHistory));
    }
    return report;
}

void CircuitBreaker::hold_open() noexcept
{
    const std::lock_guard lock(core_->mutex);
    core_->held = true;
    core_->probe_at.store(Core::kNever);
    core_->change(open, CircuitCause::operator_opened);
}

void CircuitBreaker::hold_closed() noexcept
{
    const std::lock_guard lock(core_->mutex);
    core_->held = true;
    core_->close(CircuitCause::operator_closed);
}

void CircuitBreaker::reset() noexcept
{
    const std::lock_guard lock(core_->mutex);
    core_->held = false;
    core_->close(CircuitCause::operator_reset);
}

void CircuitBreaker::obey(CircuitOrder order) noexcept
{
    switch (order) {
    case CircuitOrder::open: hold_open(); break;
    case CircuitOrder::close: hold_closed(); break;
    case CircuitOrder::reset: reset(); break;
    }
}

void CircuitBreaker::configure(const CircuitSettings& settings) noexcept
{
    const std::lock_guard lock(core_->mutex);
    core_->settings = settings;
    if (!settings.enabled && !core_->held && Core::state_of(core_->word.load()) != closed) {
        core_->close(CircuitCause::switched_off);
    }
}

std::string_view to_string(CircuitState state) noexcept
{
    switch (state) {
    case closed: return "closed";
    case open: return "open";
    case half_open: break;
    }
    return "half_open";
}

std::string_view to_string(CircuitOrder order) noexcept
{
    switch (order) {
    case CircuitOrder::open: return "open";
    case CircuitOrder::close: return "close";
    case CircuitOrder::reset: break;
    }
    return "reset";
}

std::string_view to_string(CircuitCause cause) noexcept
{
    switch (cause) {
    case CircuitCause::failures: return "failures";
    case CircuitCause::time_over: return "time_over";
    case CircuitCause::probe_failed: return "probe_failed";
    case CircuitCause::probes_succeeded: return "probes_succeeded";
    case CircuitCause::operator_opened: return "operator_opened";
    case CircuitCause::operator_closed: return "operator_closed";
    case CircuitCause::operator_reset: return "operator_reset";
    case CircuitCause::switched_off: break;
    }
    return "switched_off";
}

}  // namespace llmproxy::policy
