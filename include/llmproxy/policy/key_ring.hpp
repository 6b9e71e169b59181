#pragma once

#include "llmproxy/core/clock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace llmproxy::policy {

/// Which of a backend's keys a request uses: in turn, without those that rest after a 401, 402, 403 or 429. When all
/// rest, the one whose rest ends first.
///
/// Thread safety: every member may be called concurrently; lock-free. Lifetime: `clock` must outlive it.
class KeyRing {
public:
    /// \param keys  how many there are; with none every choice is 0.
    KeyRing(std::size_t keys, const core::Clock& clock);

    /// The next key.
    /// \param but_not  a key that this request has just been refused with; chosen only if it is the only one.
    [[nodiscard]] std::size_t next(std::optional<std::size_t> but_not = std::nullopt) noexcept;
    /// Whether a key other than `index` is there that does not rest.
    [[nodiscard]] bool has_other(std::size_t index) const noexcept;

    /// The key rests from now on; a longer rest that it has already stays.
    void cool(std::size_t index, core::Duration rest) noexcept;
    /// The key was accepted: it need not rest any more.
    void warm(std::size_t index) noexcept;
    [[nodiscard]] bool is_cooling(std::size_t index) const noexcept;
    /// How long until some key does not rest; 0 if one does not.
    [[nodiscard]] core::Duration shortest_rest() const noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    [[nodiscard]] std::int64_t now() const noexcept;

    const core::Clock& clock_;
    const std::size_t size_;
    std::unique_ptr<std::atomic<std::int64_t>[]>
        rests_until_;  // ns of the steady clock; 0: does not
    std::atomic<std::size_t> turn_{0};
};

}  // namespace llmproxy::policy
