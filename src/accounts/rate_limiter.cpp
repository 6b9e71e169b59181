#include "llmproxy/accounts/rate_limiter.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::accounts {
namespace {

using policy::Gcra;
using policy::InFlight;
using Limit = RateRefusal::Limit;

constexpr std::array<std::string_view, kLimitedRoutes> kWords{
    "chat_completions", "completions", "embeddings", "responses", "models",
    "realtime",         "other",       "connect",    "forward"};
// Places come back at any moment.
constexpr std::chrono::seconds kPlaceWait{1};

std::uint64_t per_minute(const std::optional<std::int64_t>& limit) noexcept
{
    return limit ? static_cast<std::uint64_t>(std::max<std::int64_t>(*limit, 0)) : Gcra::kNoLimit;
}

std::uint32_t at_once(const std::optional<std::int64_t>& limit) noexcept
{
    return limit
               ? static_cast<std::uint32_t>(std::clamp<std::int64_t>(*limit, 0, InFlight::kNoLimit))
               : InFlight::kNoLimit;
}

const Gcra::Figures& tighter_of(const Gcra::Figures& a, const Gcra::Figures& b) noexcept
{
    return b.remaining < a.remaining || (b.remaining == a.remaining && b.reset > a.reset) ? b : a;
}

/// As OpenAI writes it: `250ms`, `1.5s`, `6m0s`; rounded up to milliseconds.
void append_duration(std::string& out, core::Duration duration)
{
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
    if (ms < 1000) {
        core::append_number(out, ms);
        out += ms == 0 ? "s" : "ms";
        return;
    }
    if (ms >= 60'000) {
        core::append_number(out, ms / 60'000);
        out += 'm';
    }
    core::append_number(out, ms % 60'000 / 1000);
    if (const auto rest = ms % 1000; rest != 0) {
        auto digits = std::to_string(1000 + rest).substr(1);
        digits.erase(digits.find_last_not_of('0') + 1);
        out += "." + digits;
    }
    out += 's';
}

void append_lines(std::string& out, std::string_view of, const Gcra::Figures& figures)
{
    if (figures.limit == Gcra::kNoLimit) {
        return;
    }
    core::append_all(out, "x-ratelimit-limit-", of, ": ");
    core::append_number(out, figures.limit);
    core::append_all(out, "\r\nx-ratelimit-remaining-", of, ": ");
    core::append_number(out, figures.remaining);
    core::append_all(out, "\r\nx-ratelimit-reset-", of, ": ");
    append_duration(out, figures.reset);
    out += "\r\n";
}

}  // namespace

LimitedRoute limited_route(std::string_view word) noexcept
{
    const auto* const found = std::find(kWords.begin(), kWords.end(), word);
    return found == kWords.end() ? LimitedRoute::other
                                 : static_cast<LimitedRoute>(found - kWords.begin());
}

bool is_limited_route(std::string_view word) noexcept
{
    return std::find(kWords.begin(), kWords.end(), word) != kWords.end();
}

void RateLimiter::Meters::set(const storage::LimitRow& row) noexcept
{
    requests.set_limit(per_minute(row.requests_per_minute));
    tokens.set_limit(per_minute(row.tokens_per_minute));
    bytes.set_limit(per_minute(row.bytes_per_minute));
    active.set_ceiling(at_once(row.concurrent_requests));
    tunnels.set_ceiling(at_once(row.tunnels));
}

RateLimiter::~RateLimiter()
{
    for (auto& own : own_) {
        const std::unique_ptr<Meters> last(own.load());
    }
}

void RateLimiter::configure(std::span<const storage::LimitRow> rows)
{
    const std::lock_guard lock(configuring_);
    storage::LimitRow common;
    std::array<bool, kLimitedRoutes> named{};
    for (const auto& row : rows) {
        if (row.route.empty()) {
            common = row;
        } else if (is_limited_route(row.route)) {
            const auto index = static_cast<std::size_t>(limited_route(row.route));
            named[index] = true;
            auto* meters = own_[index].load();
            if (meters == nullptr) {
                meters = std::make_unique<Meters>().release();
                own_[index] = meters;
            }
            meters->set(row);
            meters->in_use = true;
        }
    }
    common_.set(common);
    for (std::size_t i = 0; i < own_.size(); ++i) {
        if (auto* const meters = own_[i].load(); meters != nullptr && !named[i]) {
            meters->in_use = false;
        }
    }
}

RateLimiter::Meters& RateLimiter::meters_of(LimitedRoute route) noexcept
{
    auto* const own = own_[static_cast<std::size_t>(route)].load(std::memory_order_acquire);
    return own != nullptr && own->in_use.load(std::memory_order_acquire) ? *own : common_;
}

std::optional<RateRefusal> RateLimiter::admit(Pass& pass, LimitedRoute route, bool tunnel,
                                              core::SteadyTime now) noexcept
{
    auto& meters = meters_of(route);
    auto& places = tunnel ? meters.tunnels : meters.active;
    auto place = places.try_enter();
    if (!place) {
        return RateRefusal{tunnel ? Limit::tunnels : Limit::concurrency, places.ceiling(),
                           kPlaceWait};
    }
    if (meters.bytes.limit() == 0) {
        return RateRefusal{Limit::bytes, 0, Gcra::kNever};
    }
    if (const auto bytes = meters.bytes.take(0, now); !bytes.admitted) {
        return RateRefusal{Limit::bytes, meters.bytes.limit(), bytes.wait};
    }
    if (const auto request = meters.requests.take(1, now); !request.admitted) {
        return RateRefusal{Limit::requests, meters.requests.limit(), request.wait};
    }
    pass.meters_ = &meters;
    pass.place_ = std::move(place);
    pass.admitted_ = now;
    pass.tokens_ = 0;
    return std::nullopt;
}

std::optional<RateRefusal> RateLimiter::would_refuse(LimitedRoute route, bool tunnel,
                                                     core::SteadyTime now) noexcept
{
    auto& meters = meters_of(route);
    const auto& places = tunnel ? meters.tunnels : meters.active;
    if (places.used() >= places.ceiling()) {
        return RateRefusal{tunnel ? Limit::tunnels : Limit::concurrency, places.ceiling(),
                           kPlaceWait};
    }
    if (meters.bytes.limit() == 0) {
        return RateRefusal{Limit::bytes, 0, Gcra::kNever};
    }
    if (const auto bytes = meters.bytes.take(0, now); !bytes.admitted) {
        return RateRefusal{Limit::bytes, meters.bytes.limit(), bytes.wait};
    }
    const auto requests = meters.requests.figures(now);
    if (requests.remaining == 0) {
        const auto wait = requests.limit == 0
                              ? Gcra::kNever
                              : Gcra::kPeriod / static_cast<std::int64_t>(requests.limit);
        return RateRefusal{Limit::requests, requests.limit, wait};
    }
    return std::nullopt;
}

void RateLimiter::withdraw(Pass& pass, core::SteadyTime now) noexcept
{
    if (pass.meters_ != nullptr) {
        settle_tokens(pass, 0, now);
        pass.meters_->requests.give_back(1, pass.admitted_, now);
        pass = Pass();
    }
}

std::optional<RateRefusal> RateLimiter::take_tokens(Pass& pass, std::uint64_t most,
                                                    core::SteadyTime now) noexcept
{
    if (pass.meters_ == nullptr) {
        return std::nullopt;
    }
    auto& tokens = pass.meters_->tokens;
    const auto limit = tokens.limit();
    const auto wanted = limit == 0 ? most : std::min(most, limit);
    if (const auto taken = tokens.take(wanted, now); !taken.admitted) {
        return RateRefusal{Limit::tokens, limit, taken.wait};
    }
    pass.tokens_ = wanted;
    pass.tokens_taken_ = now;
    return std::nullopt;
}

void RateLimiter::settle_tokens(Pass& pass, std::uint64_t used, core::SteadyTime now) noexcept
{
    if (pass.meters_ == nullptr) {
        return;
    }
    auto& tokens = pass.meters_->tokens;
    if (used > pass.tokens_) {
        tokens.charge(used - pass.tokens_, now);
    } else {
        tokens.give_back(pass.tokens_ - used, pass.tokens_taken_, now);
    }
    pass.tokens_ = used;
}

void RateLimiter::charge_bytes(Pass& pass, std::uint64_t bytes, core::SteadyTime now) noexcept
{
    if (pass.meters_ != nullptr) {
        pass.meters_->bytes.charge(bytes, now);
    }
}

RateLimiter::Figures RateLimiter::figures(const Pass& pass, core::SteadyTime now) noexcept
{
    if (pass.meters_ == nullptr) {
        return {};
    }
    return {pass.meters_->requests.figures(now), pass.meters_->tokens.figures(now)};
}

RateLimiter::Figures RateLimiter::figures(LimitedRoute route, core::SteadyTime now) noexcept
{
    const auto& meters = meters_of(route);
    return {meters.requests.figures(now), meters.tokens.figures(now)};
}

RateLimiter::Figures tighter(const RateLimiter::Figures& a, const RateLimiter::Figures& b) noexcept
{
    return {tighter_of(a.requests, b.requests), tighter_of(a.tokens, b.tokens)};
}

core::Failure to_failure(const RateRefusal& refusal, storage::SubjectKind subject)
{
    constexpr std::array<std::string_view, 5> kWhat{"requests per minute", "tokens per minute",
                                                    "bytes per minute", "requests at once",
                                                    "tunnels at once"};
    const auto what = kWhat[static_cast<std::size_t>(refusal.limit)];
    const std::string_view whose = subject == storage::SubjectKind::token ? "token" : "project";
    std::string detail;
    core::append_all(detail, what, " of the ", whose);
    std::string message = "Rate limit reached: this ";
    core::append_all(message, whose, " may have ");
    core::append_number(message, refusal.per);
    core::append_all(message, " ", what, ".");
    core::Failure failure(core::Errc::rate_limit_exceeded, core::Origin::client, std::move(detail));
    failure.say(std::move(message));
    return failure;
}

void append_ratelimit_lines(std::string& out, const RateLimiter::Figures& figures)
{
    append_lines(out, "requests", figures.requests);
    append_lines(out, "tokens", figures.tokens);
}

void append_retry_after(std::string& out, core::Duration wait)
{
    constexpr std::chrono::seconds kLeast{1};
    const auto seconds = std::max(std::chrono::ceil<std::chrono::seconds>(wait), kLeast);
    out += "Retry-After: ";
    core::append_number(out, seconds.count());
    out += "\r\n";
}

}  // namespace llmproxy::accounts
