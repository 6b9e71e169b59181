#pragma once

#include "llmproxy/core/money.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::accounts {

/// One entry of `prices`: what a million tokens cost.
struct PriceSettings {
    std::string model;     ///< a name, or a pattern in which `*` is any run of characters
    std::string provider;  ///< word of `backends[].provider`; empty: any
    std::string backend;   ///< name of a backend; empty: any
    /// The entry holds for requests with more input tokens than this; of several the highest that is passed.
    std::uint64_t above_input_tokens = 0;

    core::NanoUsd input;
    core::NanoUsd output;
    std::optional<core::NanoUsd> cached_input;  ///< none: as `input`
    std::optional<core::NanoUsd> cache_write;   ///< none: as `input`
    std::optional<core::NanoUsd> reasoning;     ///< none: as `output`
    std::optional<core::NanoUsd> audio_input;   ///< none: as `input`
    std::optional<core::NanoUsd> audio_output;  ///< none: as `output`

    std::optional<std::uint64_t> max_output_tokens;  ///< that the model can make in one choice

    friend bool operator==(const PriceSettings&, const PriceSettings&) = default;
};

/// What happens when a request turns out to cost more than was reserved for it.
enum class Enforcement : std::uint8_t {
    hard,   ///< it ends, the next one is refused
    strict  ///< it is cut off
};

/// `budget:`.
struct BudgetSettings {
    std::uint64_t default_max_tokens =
        4096;  ///< where neither request nor price entry bound the output
    Enforcement enforce = Enforcement::hard;
    std::uint32_t soft_threshold = 80;  ///< percent of a budget; 0: none
    /// Reserved for a request whose cost has no bound; none: it is refused under a money budget.
    std::optional<core::NanoUsd> unbounded_cost;

    friend bool operator==(const BudgetSettings&, const BudgetSettings&) = default;
};

/// `auth.token_cache_size`, `auth.unknown_token_ttl`.
struct TokenCacheSettings {
    std::uint32_t size = 100'000;  ///< tokens kept in memory
    std::chrono::nanoseconds unknown_ttl{
        std::chrono::seconds(5)};  ///< how long a token that does not exist is remembered

    friend bool operator==(const TokenCacheSettings&, const TokenCacheSettings&) = default;
};

/// What the configuration says about accounts. Projects and tokens themselves are in the store.
struct Settings {
    std::vector<PriceSettings> prices;  ///< in the order in which they count
    BudgetSettings budget;
    TokenCacheSettings token_cache;
};

}  // namespace llmproxy::accounts
