#pragma once

#include <cstdint>
#include <limits>

namespace llmproxy::core {

/// For products of two 64-bit numbers, and sums of a few of those.
__extension__ typedef unsigned __int128 Uint128;

/// floor(value * by / per), at most the largest number of the type. `per` is not 0.
[[nodiscard]] constexpr std::uint64_t scale(std::uint64_t value, std::uint64_t by,
                                            std::uint64_t per) noexcept
{
    const auto scaled = Uint128{value} * by / per;
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    return scaled > kMost ? kMost : static_cast<std::uint64_t>(scaled);
}

}  // namespace llmproxy::core
