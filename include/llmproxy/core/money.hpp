#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// Money in whole nano-USD: 10^-9 US dollars, so that the price of one token is a whole number.
/// Value type; the largest amount is 9.2 billion dollars. Sums stay at the bounds of the type, so
/// that an amount past them is larger than every budget.
struct NanoUsd {
    std::int64_t count = 0;

    static constexpr std::int64_t kPerUsd = 1'000'000'000;

    [[nodiscard]] static constexpr NanoUsd max() noexcept
    {
        return {std::numeric_limits<std::int64_t>::max()};
    }
    [[nodiscard]] static constexpr NanoUsd lowest() noexcept
    {
        return {std::numeric_limits<std::int64_t>::min()};
    }

    friend constexpr auto operator<=>(NanoUsd, NanoUsd) noexcept = default;
    friend constexpr NanoUsd operator+(NanoUsd a, NanoUsd b) noexcept
    {
        NanoUsd sum;
        if (__builtin_add_overflow(a.count, b.count, &sum.count)) {
            return a.count < 0 ? lowest() : max();
        }
        return sum;
    }
    friend constexpr NanoUsd operator-(NanoUsd a, NanoUsd b) noexcept
    {
        NanoUsd difference;
        if (__builtin_sub_overflow(a.count, b.count, &difference.count)) {
            return a.count < 0 ? lowest() : max();
        }
        return difference;
    }
    constexpr NanoUsd& operator+=(NanoUsd other) noexcept { return *this = *this + other; }
    constexpr NanoUsd& operator-=(NanoUsd other) noexcept { return *this = *this - other; }
};

/// Reads US dollars in decimal digits, at most nine of them after the point and none of them lost:
/// `2`, `0.0375`. None for anything else: signs, exponents, spaces, amounts out of range.
[[nodiscard]] std::optional<NanoUsd> parse_usd(std::string_view text) noexcept;

/// The shortest text that `parse_usd` reads back; with a `-` in front for amounts below zero.
[[nodiscard]] std::string to_text(NanoUsd amount);

}  // namespace llmproxy::core
