#include "llmproxy/policy/retry_budget.hpp"

#include <algorithm>
#include <cmath>

namespace llmproxy::policy {
namespace {

constexpr std::int64_t kToken = 1'000'000;

std::int64_t micro(double tokens) noexcept
{
    constexpr double kMost = 1e12;
    return std::llround(std::clamp(tokens, 0.0, kMost) * static_cast<double>(kToken));
}

}  // namespace

RetryBudget::RetryBudget(RetryBudgetSettings settings) noexcept
    : micro_tokens_(micro(std::min(settings.initial, settings.capacity))),
      deposit_(micro(settings.deposit)), capacity_(micro(settings.capacity))
{
}

void RetryBudget::deposit() noexcept
{
    const auto capacity = capacity_.load(std::memory_order_relaxed);
    const auto more = deposit_.load(std::memory_order_relaxed);
    auto held = micro_tokens_.load(std::memory_order_relaxed);
    // A full bucket, the normal case, is only read: no cache line travels between threads.
    while (held < capacity) {
        if (micro_tokens_.compare_exchange_weak(held, std::min(capacity, held + more),
                                                std::memory_order_relaxed)) {
            return;
        }
    }
}

bool RetryBudget::try_withdraw() noexcept
{
    auto held = micro_tokens_.load(std::memory_order_relaxed);
    while (held >= kToken) {
        if (micro_tokens_.compare_exchange_weak(held, held - kToken, std::memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void RetryBudget::configure(const RetryBudgetSettings& settings) noexcept
{
    const auto capacity = micro(settings.capacity);
    deposit_.store(micro(settings.deposit), std::memory_order_relaxed);
    capacity_.store(capacity, std::memory_order_relaxed);
    auto held = micro_tokens_.load(std::memory_order_relaxed);
    while (held > capacity &&
           !micro_tokens_.compare_exchange_weak(held, capacity, std::memory_order_relaxed)) {}
}

double RetryBudget::tokens() const noexcept
{
    return static_cast<double>(micro_tokens_.load(std::memory_order_relaxed)) /
           static_cast<double>(kToken);
}

}  // namespace llmproxy::policy
