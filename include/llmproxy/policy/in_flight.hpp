#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <utility>

namespace llmproxy::policy {

/// Caps how many of something are under way at once. Nobody waits: who finds no place is refused.
///
/// Thread safety: every member may be called concurrently; no locks. A Place belongs to one thread at a time.
/// Lifetime: must outlive its places.
class InFlight {
public:
    static constexpr std::uint32_t kNoLimit = std::numeric_limits<std::uint32_t>::max();

    /// One place; given back when destroyed. Move-only; may be empty.
    class Place {
    public:
        Place() noexcept = default;
        Place(Place&& other) noexcept : limiter_(std::exchange(other.limiter_, nullptr)) {}
        Place& operator=(Place&& other) noexcept
        {
            if (this != &other) {
                release();
                limiter_ = std::exchange(other.limiter_, nullptr);
            }
            return *this;
        }
        ~Place() { release(); }

        [[nodiscard]] explicit operator bool() const noexcept { return limiter_ != nullptr; }
        void release() noexcept
        {
            if (auto* const limiter = std::exchange(limiter_, nullptr)) {
                limiter->used_.fetch_sub(1, std::memory_order_relaxed);
            }
        }

    private:
        friend class InFlight;
        explicit Place(InFlight* limiter) noexcept : limiter_(limiter) {}
        InFlight* limiter_ = nullptr;
    };

    /// \param ceiling  0 admits nothing.
    explicit InFlight(std::uint32_t ceiling = kNoLimit) noexcept : ceiling_(ceiling) {}

    /// A place, or an empty one when all are taken.
    [[nodiscard]] Place try_enter() noexcept
    {
        const auto ceiling = this->ceiling();
        auto used = used_.load(std::memory_order_relaxed);
        do {
            if (used >= ceiling) {
                return {};
            }
        } while (!used_.compare_exchange_weak(used, used + 1, std::memory_order_relaxed));
        return Place(this);
    }

    /// A lower ceiling is reached as places come back.
    void set_ceiling(std::uint32_t ceiling) noexcept
    {
        ceiling_.store(ceiling, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint32_t ceiling() const noexcept
    {
        return ceiling_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint32_t used() const noexcept
    {
        return used_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint32_t> ceiling_;
    std::atomic<std::uint32_t> used_{0};
};

}  // namespace llmproxy::policy
