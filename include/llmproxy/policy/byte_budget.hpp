#pragma once

#include <cstdint>
#include <memory>

namespace llmproxy::policy {

/// Caps the bytes that all requests together hold in memory.
///
/// Thread safety: every member of the budget may be called concurrently; a Hold belongs to one
/// thread at a time.
/// Lifetime: a Hold shares the counter; the budget may be destroyed first.
class ByteBudget {
    struct Counter;

public:
    /// Bytes taken from the budget; given back when destroyed. Move-only.
    class Hold {
    public:
        Hold() noexcept = default;
        Hold(Hold&& other) noexcept;
        Hold& operator=(Hold&& other) noexcept;
        ~Hold();

        /// Takes `bytes` more. False, and nothing changes, when the budget has not that much left.
        [[nodiscard]] bool grow(std::uint64_t bytes) noexcept;
        /// Gives everything back now.
        void release() noexcept;
        [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

    private:
        friend class ByteBudget;
        explicit Hold(std::shared_ptr<Counter> counter) noexcept;
        std::shared_ptr<Counter> counter_;
        std::uint64_t bytes_ = 0;
    };

    /// \param limit  bytes.
    explicit ByteBudget(std::uint64_t limit);

    /// A hold of nothing yet: `grow` it before each piece is kept.
    [[nodiscard]] Hold hold() const noexcept;
    /// A smaller limit refuses growth until enough came back; nothing held is taken away.
    void set_limit(std::uint64_t limit) noexcept;
    [[nodiscard]] std::uint64_t used() const noexcept;

private:
    std::shared_ptr<Counter> counter_;
};

}  // namespace llmproxy::policy
