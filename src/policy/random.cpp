#include "llmproxy/policy/random.hpp"

#include <chrono>
#include <cstdint>
#include <sys/random.h>

namespace llmproxy::policy {
namespace {

std::uint64_t seed() noexcept
{
    std::uint64_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof bits)) {
        // Early in a machine's life there may be no entropy yet; spreading load needs none.
        bits = static_cast<std::uint64_t>(
                   std::chrono::steady_clock::now().time_since_epoch().count()) ^
               reinterpret_cast<std::uintptr_t>(&bits);
    }
    return bits;
}

/// SplitMix64.
std::uint64_t next(std::uint64_t& state) noexcept
{
    state += 0x9e3779b97f4a7c15ULL;
    auto z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

}  // namespace

double ThreadRandom::unit() noexcept
{
    constexpr int kMantissa = 53;
    thread_local std::uint64_t state = seed();
    return static_cast<double>(next(state) >> (64 - kMantissa)) /
           static_cast<double>(1ULL << kMantissa);
}

}  // namespace llmproxy::policy
