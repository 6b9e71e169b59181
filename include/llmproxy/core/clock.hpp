#pragma once

#include <atomic>
#include <chrono>

namespace llmproxy::core {

using SteadyTime = std::chrono::steady_clock::time_point;
using SystemTime = std::chrono::system_clock::time_point;
using Duration = std::chrono::nanoseconds;

/// Where decision classes get the time from, so that tests can set it.
/// Thread safety: every member may be called concurrently.
class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual SteadyTime now() const noexcept = 0;
    [[nodiscard]] virtual SystemTime wall() const noexcept = 0;
};

/// The machine's clocks.
class RealClock final : public Clock {
public:
    [[nodiscard]] SteadyTime now() const noexcept override
    {
        return std::chrono::steady_clock::now();
    }
    [[nodiscard]] SystemTime wall() const noexcept override
    {
        return std::chrono::system_clock::now();
    }
};

/// A clock that moves only when told to. For tests.
class ManualClock final : public Clock {
public:
    [[nodiscard]] SteadyTime now() const noexcept override
    {
        return SteadyTime(std::chrono::steady_clock::duration(elapsed_.load()));
    }
    [[nodiscard]] SystemTime wall() const noexcept override
    {
        return SystemTime(std::chrono::duration_cast<SystemTime::duration>(
            std::chrono::nanoseconds(elapsed_.load()) + kEpoch));
    }
    void advance(Duration by) noexcept { elapsed_ += by.count(); }

private:
    static constexpr std::chrono::seconds kEpoch{1'700'000'000};
    std::atomic<std::int64_t> elapsed_{1'000'000'000};
};

}  // namespace llmproxy::core
