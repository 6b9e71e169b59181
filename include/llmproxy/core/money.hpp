#pragma once

#include <compare>
#include <cstdint>

namespace llmproxy::core {

/// Money in whole nano-USD: 10^-9 US dollars, so that the price of one token is a whole number.
/// Value type; the largest amount is 9.2 billion dollars.
struct NanoUsd {
    std::int64_t count = 0;

    friend constexpr auto operator<=>(NanoUsd, NanoUsd) noexcept = default;
    friend constexpr NanoUsd operator+(NanoUsd a, NanoUsd b) noexcept
    {
        return {a.count + b.count};
    }
    friend constexpr NanoUsd operator-(NanoUsd a, NanoUsd b) noexcept
    {
        return {a.count - b.count};
    }
    constexpr NanoUsd& operator+=(NanoUsd other) noexcept
    {
        count += other.count;
        return *this;
    }
    constexpr NanoUsd& operator-=(NanoUsd other) noexcept
    {
        count -= other.count;
        return *this;
    }
};

}  // namespace llmproxy::core
