#pragma once

#include "llmproxy/policy/random.hpp"

#include <atomic>
#include <cstdint>

namespace llmproxy::policy {

/// Gives the same number every time.
class FixedRandom final : public RandomSource {
public:
    explicit FixedRandom(double number) : number_(number) {}
    [[nodiscard]] double unit() noexcept override { return number_; }

private:
    double number_;
};

/// Gives evenly spread numbers, the same in every run: multiples of the golden ratio, modulo 1.
class EvenRandom final : public RandomSource {
public:
    [[nodiscard]] double unit() noexcept override
    {
        constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;
        const auto turn = turns_.fetch_add(1, std::memory_order_relaxed) + 1;
        return static_cast<double>((turn * kGolden) >> 11) / static_cast<double>(1ULL << 53);
    }

private:
    std::atomic<std::uint64_t> turns_{0};
};

}  // namespace llmproxy::policy
