#include "llmproxy/accounts/price_table.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace llmproxy::accounts {
namespace {

using core::NanoUsd;
using storage::TokenCounts;

constexpr auto kMostTokens = std::numeric_limits<std::int64_t>::max();

PriceSettings price(std::string model, std::int64_t input, std::int64_t output)
{
    PriceSettings entry;
    entry.model = std::move(model);
    entry.input = NanoUsd{input};
    entry.output = NanoUsd{output};
    return entry;
}

PriceSettings scoped(PriceSettings entry, std::string backend, std::string provider)
{
    entry.backend = std::move(backend);
    entry.provider = std::move(provider);
    return entry;
}

TokenCounts counts(std::int64_t prompt, std::int64_t completion)
{
    TokenCounts tokens;
    tokens.prompt = prompt;
    tokens.completion = completion;
    return tokens;
}

std::int64_t million_of(const PriceTable& table, std::string_view model,
                        std::string_view backend = "b", std::string_view provider = "openai")
{
    const auto* found = table.find({model, backend, provider});
    return found == nullptr ? -1 : found->cost(counts(1'000'000, 0)).count;
}

TEST(ModelPrice, AddsExactlyAndRoundsTheSumUp)
{
    // 0.0375 and 0.15 USD per million tokens: 37.5 and 150 nano-USD a token.
    const ModelPrice model({price("m", 37'500'000, 150'000'000)});
    EXPECT_EQ(model.cost(counts(0, 0)), NanoUsd{0});
    EXPECT_EQ(model.cost(counts(1, 0)), NanoUsd{38});
    EXPECT_EQ(model.cost(counts(2, 0)), NanoUsd{75});
    EXPECT_EQ(model.cost(counts(3, 1)), NanoUsd{263});  // 112.5 + 150, rounded once
    EXPECT_EQ(model.cost(counts(1'000'000, 1'000'000)), NanoUsd{187'500'000});
    const ModelPrice cheap({price("m", 1, 1)});
    EXPECT_EQ(cheap.cost(counts(1, 0)), NanoUsd{1});
    EXPECT_EQ(cheap.cost(counts(500'000, 500'000)), NanoUsd{1});
    EXPECT_EQ(cheap.cost(counts(500'000, 500'001)), NanoUsd{2});
    const ModelPrice free({price("m", 0, 0)});
    EXPECT_EQ(free.cost(counts(kMostTokens, kMostTokens)), NanoUsd{0});
}

TEST(ModelPrice, TakesThePartsApart)
{
    auto entry = price("m", 1'000'000, 10'000'000);  // 1 and 10 nano-USD a token
    TokenCounts tokens = counts(100, 100);
    tokens.cached = 20;
    tokens.cache_write = 30;
    tokens.audio_input = 10;
    tokens.reasoning = 40;
    tokens.audio_output = 5;
    EXPECT_EQ(ModelPrice({entry}).cost(tokens),
              NanoUsd{1100});  // parts without a price of their own

    entry.cached_input = NanoUsd{100'000};
    entry.cache_write = NanoUsd{2'000'000};
    entry.audio_input = NanoUsd{50'000'000};
    entry.reasoning = NanoUsd{20'000'000};
    entry.audio_output = NanoUsd{100'000'000};
    //        40 x 1 + 20 x 0.1 + 30 x 2 + 10 x 50 + 55 x 10 + 40 x 20 + 5 x 100
    EXPECT_EQ(ModelPrice({entry}).cost(tokens), NanoUsd{40 + 2 + 60 + 500 + 550 + 800 + 500});
    entry.cached_input = NanoUsd{0};
    EXPECT_EQ(ModelPrice({entry}).cost(tokens), NanoUsd{2450});
}

TEST(ModelPrice, CountsPartsInFullThatAreMoreThanTheWhole)
{
    auto entry = price("m", 1'000'000, 1'000'000);
    entry.cached_input = NanoUsd{500'000};
    TokenCounts tokens = counts(10, -5);
    tokens.cached = 40;
    tokens.reasoning = -1;
    EXPECT_EQ(ModelPrice({entry}).cost(tokens), NanoUsd{20});
}

TEST(ModelPrice, TakesTheTierOfThePrompt)
{
    auto above = price("m", 3'000'000, 5'000'000);
    above.above_input_tokens = 1000;
    auto highest = price("m", 7'000'000, 7'000'000);
    highest.above_input_tokens = 2000;
    const ModelPrice model({highest, price("m", 1'000'000, 2'000'000), above});
    EXPECT_EQ(model.cost(counts(1000, 10)), NanoUsd{1020});
    EXPECT_EQ(model.cost(counts(1001, 10)), NanoUsd{3053});
    EXPECT_EQ(model.cost(counts(2001, 0)), NanoUsd{14'007});
    EXPECT_EQ(model.most({1000, 10}), NanoUsd{1020});
    EXPECT_EQ(model.most({1500, 10}), NanoUsd{4550});
    EXPECT_EQ(model.most({2001, 0}), NanoUsd{14'007});
}

TEST(ModelPrice, BoundsWhateverTheTokensTurnOutToBe)
{
    auto entry = price("m", 2'000'000, 8'000'000);
    entry.cached_input = NanoUsd{1'000'000};
    entry.cache_write = NanoUsd{3'000'000};
    entry.reasoning = NanoUsd{9'000'000};
    entry.audio_input = NanoUsd{40'000'000};
    entry.audio_output = NanoUsd{80'000'000};
    auto cheaper_above = price("m", 1'000'000, 1'000'000);
    cheaper_above.above_input_tokens = 50;
    const ModelPrice model({entry, cheaper_above});
    EXPECT_EQ(model.most({100, 10}), NanoUsd{390});
    EXPECT_EQ(model.most({100, 10, true}), NanoUsd{4800});
    for (std::int64_t prompt = 0; prompt <= 100; prompt += 10) {
        for (std::int64_t part = 0; part <= prompt; part += 10) {
            auto tokens = counts(prompt, 10);
            tokens.cache_write = part;
            tokens.reasoning = part % 11;
            EXPECT_LE(model.cost(tokens), model.most({100, 10}));
            tokens.audio_output = 10 - tokens.reasoning;
            tokens.audio_input = prompt - part;
            EXPECT_LE(model.cost(tokens), model.most({100, 10, true}));
        }
    }
}

TEST(ModelPrice, StaysAtTheLargestAmount)
{
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    const ModelPrice model({price("m", kMost, kMost)});
    TokenCounts tokens = counts(kMostTokens, kMostTokens);
    tokens.cached = tokens.cache_write = tokens.audio_input = kMostTokens;
    tokens.reasoning = tokens.audio_output = kMostTokens;
    EXPECT_EQ(model.cost(tokens), NanoUsd::max());
    EXPECT_EQ(model.most({std::numeric_limits<std::uint64_t>::max(),
                          std::numeric_limits<std::uint64_t>::max(), true}),
              NanoUsd::max());
    const ModelPrice dear({price("m", 600'000'000'000, 600'000'000'000)});
    EXPECT_EQ(dear.cost(counts(15'372'286'728'091, 0)), NanoUsd{9'223'372'036'854'600'000});
    EXPECT_EQ(dear.cost(counts(15'372'286'728'092, 0)), NanoUsd::max());
}

TEST(PriceTable, PrefersTheBackendThenTheProviderThenTheName)
{
    const PriceTable table({
        price("*", 1, 0),
        price("gpt-*", 2, 0),
        price("gpt-4o*", 3, 0),
        price("gpt-4o", 4, 0),
        scoped(price("gpt-4o*", 5, 0), "", "mock"),
        scoped(price("*", 6, 0), "local", ""),
        scoped(price("gpt-4o", 7, 0), "local", "mock"),
    });
    EXPECT_EQ(million_of(table, "llama"), 1);
    EXPECT_EQ(million_of(table, "gpt-3"), 2);
    EXPECT_EQ(million_of(table, "gpt-4o-mini"), 3);
    EXPECT_EQ(million_of(table, "gpt-4o"), 4);
    EXPECT_EQ(million_of(table, "gpt-4o", "b", "mock"), 5);
    EXPECT_EQ(million_of(table, "gpt-4o", "local", "openai"), 6);
    EXPECT_EQ(million_of(table, "gpt-4o", "local", "mock"), 7);
    EXPECT_EQ(million_of(table, "gpt-4o-mini", "local", "mock"), 6);
}

TEST(PriceTable, TakesTheFirstOfEquals)
{
    auto tier = price("a", 5, 0);
    tier.above_input_tokens = 2'000'000;
    const PriceTable table(
        {price("a", 1, 0), price("a", 2, 0), tier, price("a*c", 3, 0), price("ab*", 4, 0)});
    EXPECT_EQ(million_of(table, "a"), 1);
    EXPECT_EQ(million_of(table, "abc"), 3);
    const auto* found = table.find({"a", "", ""});
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->cost(counts(3'000'000, 0)), NanoUsd{15});
}

TEST(PriceTable, KnowsNothingOfOtherModels)
{
    const PriceTable table({price("a", 1, 0), scoped(price("b", 1, 0), "local", "")});
    EXPECT_EQ(table.find({"A", "local", ""}), nullptr);
    EXPECT_EQ(table.find({"b", "other", ""}), nullptr);
    EXPECT_EQ(table.find({"", "", ""}), nullptr);
    EXPECT_FALSE(table.empty());
    EXPECT_TRUE(PriceTable({}).empty());
    EXPECT_EQ(PriceTable({}).find({"a", "", ""}), nullptr);
}

TEST(PriceTable, TellsTheLongestOutput)
{
    auto entry = price("a", 1, 1);
    EXPECT_FALSE(ModelPrice({entry}).max_output_tokens());
    entry.max_output_tokens = 100;
    EXPECT_EQ(ModelPrice({entry}).max_output_tokens(), 100U);
}

}  // namespace
}  // namespace llmproxy::accounts
