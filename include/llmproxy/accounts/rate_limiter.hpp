#pragma once

#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/policy/gcra.hpp"
#include "llmproxy/policy/in_flight.hpp"
#include "llmproxy/storage/rows.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::accounts {

/// The routes whose limits can be set apart, by the word that logs have for them.
enum class LimitedRoute : std::uint8_t {
    chat_completions,
    completions,
    embeddings,
    responses,
    models,
    realtime,
    other,
    connect,
    forward,
};
inline constexpr std::size_t kLimitedRoutes = 9;

/// The route of a word; `other` for one that is not in the list.
[[nodiscard]] LimitedRoute limited_route(std::string_view word) noexcept;
/// Whether limits can be set for this word.
[[nodiscard]] bool is_limited_route(std::string_view word) noexcept;

/// Which limit refused a request, and when it is worth trying again.
struct RateRefusal {
    enum class Limit : std::uint8_t { requests, tokens, bytes, concurrency, tunnels };
    Limit limit = Limit::requests;
    std::uint64_t per = 0;   ///< the limit itself
    core::Duration wait{0};  ///< policy::Gcra::kNever: never
};

/// The rate limits of one project or token: requests, tokens and bytes per minute, requests and tunnels at once; a
/// route with limits of its own is measured by those alone.
///
/// Thread safety: every member may be called concurrently; deciding takes no lock. A Pass belongs to one thread at a time.
/// Lifetime: must outlive its passes.
class RateLimiter {
    struct Meters;

public:
    /// What one request holds of the limits. Move-only. Destroying it ends the request or tunnel; what it took per
    /// minute stays taken.
    class Pass {
    public:
        Pass() noexcept = default;
        Pass(Pass&&) noexcept = default;
        Pass& operator=(Pass&&) noexcept = default;

    private:
        friend class RateLimiter;
        Meters* meters_ = nullptr;
        policy::InFlight::Place place_;
        core::SteadyTime admitted_;
        core::SteadyTime tokens_taken_;
        std::uint64_t tokens_ = 0;
    };

    RateLimiter() noexcept = default;
    RateLimiter(const RateLimiter&) = delete;
    RateLimiter& operator=(const RateLimiter&) = delete;
    ~RateLimiter();

    /// Replaces the limits; takes effect at once, and what was used stays used. Rows of unknown routes are passed over;
    /// limits below zero admit nothing.
    void configure(std::span<const storage::LimitRow> rows);

    /// Takes one request and its place, or nothing. Refuses too while more bytes were charged than the limit allows.
    [[nodiscard]] std::optional<RateRefusal> admit(Pass& pass, LimitedRoute route, bool tunnel,
                                                   core::SteadyTime now) noexcept;
    /// Whether `admit` would refuse, and takes nothing. The wait until a request comes back is the longest that it can be.
    [[nodiscard]] std::optional<RateRefusal> would_refuse(LimitedRoute route, bool tunnel,
                                                          core::SteadyTime now) noexcept;
    /// Takes the request of a pass back, because something else refused it.
    static void withdraw(Pass& pass, core::SteadyTime now) noexcept;

    /// Takes tokens, or nothing. More than a minute's worth counts as that: it is an upper bound, corrected later.
    [[nodiscard]] static std::optional<RateRefusal> take_tokens(Pass& pass, std::uint64_t most,
                                                                core::SteadyTime now) noexcept;
    /// Corrects what `take_tokens` took to what was used.
    static void settle_tokens(Pass& pass, std::uint64_t used, core::SteadyTime now) noexcept;
    static void charge_bytes(Pass& pass, std::uint64_t bytes, core::SteadyTime now) noexcept;

    struct Figures {
        policy::Gcra::Figures requests;
        policy::Gcra::Figures tokens;
    };
    /// Where the limits stand that a pass, or a route, is measured by.
    [[nodiscard]] static Figures figures(const Pass& pass, core::SteadyTime now) noexcept;
    [[nodiscard]] Figures figures(LimitedRoute route, core::SteadyTime now) noexcept;

private:
    struct Meters {
        std::atomic<bool> in_use{false};  // of a route's own: there is a row
        policy::Gcra requests;
        policy::Gcra tokens;
        policy::Gcra bytes;
        policy::InFlight active;
        policy::InFlight tunnels;

        void set(const storage::LimitRow& row) noexcept;
    };
    Meters& meters_of(LimitedRoute route) noexcept;

    Meters common_;
    // Made once when a row asks for them, gone with this object: readers need no lock.
    std::array<std::atomic<Meters*>, kLimitedRoutes> own_{};
    std::mutex configuring_;
};

/// The tighter of two for each figure: what a client has to heed.
[[nodiscard]] RateLimiter::Figures tighter(const RateLimiter::Figures& a,
                                           const RateLimiter::Figures& b) noexcept;

/// The refusal as a failure with Errc::rate_limit_exceeded.
[[nodiscard]] core::Failure to_failure(const RateRefusal& refusal, storage::SubjectKind subject);

/// Appends the lines `x-ratelimit-limit-requests`, `-remaining-`, `-reset-` and the same of tokens, as far as there are
/// limits.
void append_ratelimit_lines(std::string& out, const RateLimiter::Figures& figures);

/// Appends `Retry-After` in whole seconds, rounded up and at least 1 (RFC 9110, section 10.2.3).
void append_retry_after(std::string& out, core::Duration wait);

}  // namespace llmproxy::accounts
