#pragma once

#include "llmproxy/core/clock.hpp"

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

namespace llmproxy::net {

class PipePool;

/// A kernel pipe borrowed for splice(2). Empty (false) when none could be had.
/// Thread safety: none. Lifetime: the pool outlives it. One that still holds bytes is closed instead of going back.
class Pipe {
public:
    Pipe() noexcept = default;
    Pipe(Pipe&& other) noexcept;
    Pipe& operator=(Pipe&& other) noexcept;
    ~Pipe();

    [[nodiscard]] explicit operator bool() const noexcept { return pool_ != nullptr; }
    /// The end that bytes are put into, and the one they are taken from; both non-blocking.
    [[nodiscard]] int in() const noexcept { return in_; }
    [[nodiscard]] int out() const noexcept { return out_; }

    std::size_t held = 0;  ///< bytes in the pipe; kept by the borrower

private:
    friend class PipePool;
    Pipe(PipePool& pool, int in, int out) noexcept : pool_(&pool), in_(in), out_(out) {}

    PipePool* pool_ = nullptr;
    int in_ = -1;
    int out_ = -1;
};

/// Pipes of 256 KiB, kept between uses, so many at most.
///
/// The kernel counts the pages of all pipes of a user: past 256 pipes of this size, F_SETPIPE_SZ fails for who is not
/// privileged and new pipes shrink to 8 KiB. Those are of no use; the pool then has none to lend for a second.
/// Thread safety: every member may be called concurrently.
class PipePool {
public:
    static constexpr std::size_t kBytes = std::size_t{256} * 1024;
    static constexpr std::size_t kMost = 192;  ///< what a user may have is 256
    static constexpr std::size_t kKept = 32;   ///< idle ones: two descriptors each

    explicit PipePool(std::size_t most = kMost, std::size_t kept = kKept) noexcept
        : most_(most), kept_(kept)
    {
    }
    PipePool(const PipePool&) = delete;
    PipePool& operator=(const PipePool&) = delete;
    ~PipePool();

    /// The process's own.
    static PipePool& shared();

    /// A pipe with nothing in it, or an empty Pipe: at the bound, or the system gives none.
    [[nodiscard]] Pipe borrow();
    /// Pipes that exist now, lent or kept.
    [[nodiscard]] std::size_t size() const;

private:
    friend class Pipe;
    void give_back(const Pipe& pipe) noexcept;
    bool make(int (&ends)[2]) noexcept;

    mutable std::mutex mutex_;
    std::size_t most_;
    std::size_t kept_;
    std::size_t alive_ = 0;
    core::SteadyTime not_before_{};
    std::vector<std::pair<int, int>> idle_;  // in, out
};

}  // namespace llmproxy::net
