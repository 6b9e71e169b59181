#pragma once

#include "llmproxy/core/clock.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace llmproxy::policy {

/// What is known of how a backend does: exchanges under way, time to first byte, share of successes. One per backend,
/// shared by every Balancer that may choose it.
///
/// Averages follow time, not counts: a sample pulls them the more, the longer ago the one before it was, so that a
/// backend that is rarely asked is believed soon; none counts for more than half.
/// Thread safety: every member may be called concurrently. Lifetime: by shared_ptr; `clock` must outlive it.
class BackendLoad : public std::enable_shared_from_this<BackendLoad> {
public:
    /// One exchange under way. Move-only; ends when destroyed.
    class Pending {
    public:
        Pending() noexcept = default;
        Pending(Pending&& other) noexcept = default;
        Pending& operator=(Pending&& other) noexcept;
        ~Pending();

    private:
        friend class BackendLoad;
        explicit Pending(std::shared_ptr<BackendLoad> load) noexcept : load_(std::move(load)) {}
        std::shared_ptr<BackendLoad> load_;
    };

    /// How long a sample's weight takes to fall to 1/e.
    static constexpr core::Duration kMemory = std::chrono::seconds(2);

    explicit BackendLoad(const core::Clock& clock) noexcept : clock_(clock) {}

    /// An exchange begins.
    [[nodiscard]] Pending begin();
    /// An attempt brought the head of a reply after `time_to_first_byte`, with a status below 500 and not 429. A sample that would have to
    /// wait for another thread's is left out.
    void succeeded(core::Duration time_to_first_byte) noexcept;
    /// An attempt failed, by its status or without a reply.
    void failed() noexcept;

    [[nodiscard]] std::uint32_t pending() const noexcept
    {
        return pending_.load(std::memory_order_relaxed);
    }
    /// The average, or none before the first success.
    [[nodiscard]] std::optional<core::Duration> time_to_first_byte() const noexcept;
    /// 0 to 1; 1 before the first attempt.
    [[nodiscard]] double success_share() const noexcept;

private:
    struct Average {
        double value = 0;
        core::SteadyTime at{};
        bool any = false;
        void add(double sample, core::SteadyTime now) noexcept;
    };

    const core::Clock& clock_;
    std::atomic<std::uint32_t> pending_{0};
    mutable std::mutex mutex_;
    Average first_byte_;  // ns
    Average success_{1.0, {}, true};
};

}  // namespace llmproxy::policy
