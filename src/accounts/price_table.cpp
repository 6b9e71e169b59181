#include "llmproxy/accounts/price_table.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/core/wide.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace llmproxy::accounts {
namespace {

constexpr std::uint64_t kPerMillion = 1'000'000;
// So that seven products with 64-bit counts fit 128 bits.
constexpr std::int64_t kDearest = std::int64_t{1} << 60;

std::int64_t per_million(core::NanoUsd price) noexcept
{
    return std::clamp<std::int64_t>(price.count, 0, kDearest);
}

/// Sums tokens times prices without rounding.
class Bill {
public:
    void add(std::uint64_t tokens, std::int64_t price) noexcept
    {
        sum_ += core::Uint128{tokens} * static_cast<std::uint64_t>(price);
    }
    [[nodiscard]] core::NanoUsd total() const noexcept
    {
        const auto total = (sum_ + (kPerMillion - 1)) / kPerMillion;
        constexpr auto kMost = core::NanoUsd::max();
        return total > static_cast<core::Uint128>(kMost.count)
                   ? kMost
                   : core::NanoUsd{static_cast<std::int64_t>(total)};
    }

private:
    core::Uint128 sum_ = 0;
};

std::uint64_t count_of(std::int64_t tokens) noexcept
{
    return static_cast<std::uint64_t>(std::max<std::int64_t>(tokens, 0));
}

/// A whole without its parts; parts that are more than it leave nothing.
std::uint64_t without(std::uint64_t whole, std::uint64_t parts) noexcept
{
    return whole - std::min(whole, parts);
}

std::size_t literal_length(std::string_view pattern) noexcept
{
    return pattern.size() -
           static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '*'));
}

}  // namespace

ModelPrice::ModelPrice(std::vector<PriceSettings> tiers)
{
    std::stable_sort(tiers.begin(), tiers.end(),
                     [](const PriceSettings& a, const PriceSettings& b) {
                         return a.above_input_tokens < b.above_input_tokens;
                     });
    for (const auto& entry : tiers) {
        Tier tier;
        tier.above = entry.above_input_tokens;
        tier.input = per_million(entry.input);
        tier.cached = per_million(entry.cached_input.value_or(entry.input));
        tier.cache_write = per_million(entry.cache_write.value_or(entry.input));
        tier.audio_input = per_million(entry.audio_input.value_or(entry.input));
        tier.output = per_million(entry.output);
        tier.reasoning = per_million(entry.reasoning.value_or(entry.output));
        tier.audio_output = per_million(entry.audio_output.value_or(entry.output));
        tiers_.push_back(tier);
        if (entry.max_output_tokens) {
            max_output_tokens_ = std::max(max_output_tokens_.value_or(0), *entry.max_output_tokens);
        }
    }
}

core::NanoUsd ModelPrice::cost(const storage::TokenCounts& tokens) const noexcept
{
    const auto prompt = count_of(tokens.prompt);
    const auto* tier = &tiers_.front();
    for (const auto& other : tiers_) {
        tier = prompt > other.above ? &other : tier;
    }
    const auto cached = count_of(tokens.cached);
    const auto cache_write = count_of(tokens.cache_write);
    const auto audio_input = count_of(tokens.audio_input);
    const auto reasoning = count_of(tokens.reasoning);
    const auto audio_output = count_of(tokens.audio_output);
    Bill bill;
    bill.add(without(prompt, cached + cache_write + audio_input), tier->input);
    bill.add(cached, tier->cached);
    bill.add(cache_write, tier->cache_write);
    bill.add(audio_input, tier->audio_input);
    bill.add(without(count_of(tokens.completion), reasoning + audio_output), tier->output);
    bill.add(reasoning, tier->reasoning);
    bill.add(audio_output, tier->audio_output);
    return bill.total();
}

core::NanoUsd ModelPrice::most(Most tokens) const noexcept
{
    core::NanoUsd most;
    for (const auto& tier : tiers_) {
        if (&tier != &tiers_.front() && tokens.input_tokens <= tier.above) {
            break;
        }
        const auto input = std::max(
            {tier.input, tier.cached, tier.cache_write, tokens.audio ? tier.audio_input : 0});
        const auto output =
            std::max({tier.output, tier.reasoning, tokens.audio ? tier.audio_output : 0});
        Bill bill;
        bill.add(tokens.input_tokens, input);
        bill.add(tokens.output_tokens, output);
        most = std::max(most, bill.total());
    }
    return most;
}

std::optional<std::uint64_t> ModelPrice::max_output_tokens() const noexcept
{
    return max_output_tokens_;
}

PriceTable::PriceTable(const std::vector<PriceSettings>& entries)
{
    // Tiers of one model stand apart in the configuration; of two entries for the same tier the first counts.
    using Subject = std::tuple<std::string, std::string, std::string>;
    std::map<Subject, std::vector<PriceSettings>> tiers;
    std::vector<Subject> order;
    for (const auto& entry : entries) {
        Subject subject(entry.model, entry.backend, entry.provider);
        auto& group = tiers[subject];
        if (group.empty()) {
            order.push_back(subject);
        }
        const bool hidden = std::any_of(group.begin(), group.end(), [&](const auto& other) {
            return other.above_input_tokens == entry.above_input_tokens;
        });
        if (!hidden) {
            group.push_back(entry);
        }
    }
    for (const auto& subject : order) {
        const auto& [model, backend, provider] = subject;
        const bool pattern = model.find('*') != std::string::npos;
        entries_.push_back(
            Entry{model, backend, provider, pattern, ModelPrice(std::move(tiers[subject]))});
    }
    const auto rank = [](const Entry& entry) {
        const int scope = !entry.backend.empty() ? 0 : (!entry.provider.empty() ? 1 : 2);
        // Longer literals first.
        return std::make_tuple(scope, entry.pattern, ~literal_length(entry.model));
    };
    std::stable_sort(entries_.begin(), entries_.end(),
                     [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        (entries_[i].pattern ? patterns_ : exact_[entries_[i].model]).push_back(i);
    }
}

bool PriceTable::holds_at(const Entry& entry, const PricedPlace& place) const noexcept
{
    return (entry.backend.empty() || entry.backend == place.backend) &&
           (entry.provider.empty() || entry.provider == place.provider);
}

const ModelPrice* PriceTable::find(const PricedPlace& place) const
{
    const auto first_of = [&](const Indices& candidates, auto&& matches) {
        const auto found = std::find_if(candidates.begin(), candidates.end(), [&](std::size_t i) {
            return holds_at(entries_[i], place) && matches(entries_[i]);
        });
        return found == candidates.end() ? entries_.size() : *found;
    };
    auto best = first_of(
        patterns_, [&](const Entry& entry) { return core::glob_match(entry.model, place.model); });
    if (const auto named = exact_.find(place.model); named != exact_.end()) {
        best = std::min(best, first_of(named->second, [](const Entry&) { return true; }));
    }
    return best == entries_.size() ? nullptr : &entries_[best].price;
}

}  // namespace llmproxy::accounts
