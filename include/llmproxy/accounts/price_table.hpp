#pragma once

#include "llmproxy/accounts/settings.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/storage/usage.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::accounts {

/// What one entry of the table says about a model, its tiers by input length included.
/// Value type; immutable.
class ModelPrice {
public:
    /// What of a request decides which prices can come up.
    struct Most {
        std::uint64_t input_tokens = 0;
        std::uint64_t output_tokens = 0;
        bool audio = false;  ///< it has, or asks for, audio
    };

    /// \param tiers  entries that differ by `above_input_tokens`, at least one.
    explicit ModelPrice(std::vector<PriceSettings> tiers);

    /// What these tokens cost: summed exactly, then rounded up to a whole nano-USD.
    [[nodiscard]] core::NanoUsd cost(const storage::TokenCounts& tokens) const noexcept;

    /// What a request with at most so many tokens can cost, however they are divided into cached, reasoning and so on.
    [[nodiscard]] core::NanoUsd most(Most tokens) const noexcept;

    [[nodiscard]] std::optional<std::uint64_t> max_output_tokens() const noexcept;

private:
    struct Tier {
        std::uint64_t above = 0;
        std::int64_t input = 0;  // nano-USD per million tokens, from here on
        std::int64_t cached = 0;
        std::int64_t cache_write = 0;
        std::int64_t audio_input = 0;
        std::int64_t output = 0;
        std::int64_t reasoning = 0;
        std::int64_t audio_output = 0;
    };
    std::vector<Tier> tiers_;  // ascending
    std::optional<std::uint64_t> max_output_tokens_;
};

/// Where a request may go, as far as prices are concerned. Views.
struct PricedPlace {
    std::string_view model;     ///< as the backend is asked for it
    std::string_view backend;   ///< its name
    std::string_view provider;  ///< its provider's word
};

/// The prices of the configuration: `prices` and `prices_file`.
///
/// An entry for the backend counts before one for its provider, that before one for all; among those an exact name before
/// patterns, the longest pattern (counted without `*`) before others; of equals the first.
/// Thread safety: immutable once made; shared by pointer to const.
class PriceTable {
public:
    explicit PriceTable(const std::vector<PriceSettings>& entries);

    /// The price at a place; nullptr if there is none. Lives as long as the table.
    [[nodiscard]] const ModelPrice* find(const PricedPlace& place) const;

    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

private:
    struct Entry {
        std::string model;
        std::string backend;
        std::string provider;
        bool pattern = false;
        ModelPrice price;
    };
    using Indices = std::vector<std::size_t>;
    [[nodiscard]] bool holds_at(const Entry& entry, const PricedPlace& place) const noexcept;

    std::vector<Entry> entries_;  // what counts first comes first
    std::map<std::string, Indices, std::less<>> exact_;
    Indices patterns_;
};

}  // namespace llmproxy::accounts
