#include "llmproxy/config/documents.hpp"
#include "llmproxy/config/load.hpp"
#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace llmproxy::config {
namespace {

using core::NanoUsd;

std::string first_problem(const std::string& text)
{
    const auto loaded = load_text(text, "f", {});
    EXPECT_EQ(loaded.problems.size(), 1U) << text;
    return loaded.problems.empty() ? "" : loaded.problems.front().to_string();
}

/// A price file that is gone with the test.
class PriceFile {
public:
    explicit PriceFile(const std::string& content) { test::write_file(path_, content); }
    [[nodiscard]] const std::string& path() const { return path_; }
    /// A configuration that names it, after `more`.
    [[nodiscard]] Loaded load(const std::string& more = {}) const
    {
        return load_text(more + "prices_file: " + path_ + "\n", "f", {});
    }

private:
    test::TempDir directory_;
    std::string path_ = directory_.file("prices.yaml");
};

TEST(Prices, AreReadExactly)
{
    const auto loaded = load_text(
        R"(
backends: [{name: local, provider: mock}]
prices:
  - { model: "gpt-4o*", input: 2.50, cached_input: 0.0375, output: 10 }
  - model: m
    provider: mock
    backend: local
    input: 0
    output: 0.000000001
    cache_write: 3.75
    reasoning: 4
    audio_input: 5
    audio_output: 6
    max_output_tokens: 16384
  - { model: m, provider: mock, backend: local, above_input_tokens: 200000, input: 1, output: 2 }
)",
        "f", {});
    ASSERT_TRUE(loaded.snapshot) << loaded.problems.front().to_string();
    const auto& prices = loaded.snapshot->accounts.prices;
    ASSERT_EQ(prices.size(), 3U);

    accounts::PriceSettings first;
    first.model = "gpt-4o*";
    first.input = NanoUsd{2'500'000'000};
    first.cached_input = NanoUsd{37'500'000};
    first.output = NanoUsd{10'000'000'000};
    EXPECT_EQ(prices[0], first);

    accounts::PriceSettings second;
    second.model = "m";
    second.provider = "mock";
    second.backend = "local";
    second.output = NanoUsd{1};
    second.cache_write = NanoUsd{3'750'000'000};
    second.reasoning = NanoUsd{4'000'000'000};
    second.audio_input = NanoUsd{5'000'000'000};
    second.audio_output = NanoUsd{6'000'000'000};
    second.max_output_tokens = 16384;
    EXPECT_EQ(prices[1], second);
    EXPECT_EQ(prices[2].above_input_tokens, 200'000U);
}

TEST(Prices, OfAFileComeAfterThoseOfTheConfiguration)
{
    const PriceFile file("prices:\n  - { model: a, input: 1, output: 2 }\n"
                         "  - { model: b, input: 3, output: 4 }\n");
    const auto loaded = file.load("prices: [{ model: b, input: 5, output: 6 }]\n");
    ASSERT_TRUE(loaded.snapshot) << loaded.problems.front().to_string();
    const auto& prices = loaded.snapshot->accounts.prices;
    ASSERT_EQ(prices.size(), 3U);
    EXPECT_EQ(prices[0].model, "b");
    EXPECT_EQ(prices[0].input, NanoUsd{5'000'000'000});
    EXPECT_EQ(prices[1].model, "a");
    EXPECT_EQ(prices[2].input, NanoUsd{3'000'000'000});
}

TEST(Prices, FileMayBeNamedByTheEnvironment)
{
    const PriceFile file("prices: [{ model: a, input: 1, output: 2 }]\n");
    const auto loaded = load_text("", "f", {{"LLM_PROXY_PRICES_FILE", file.path()}});
    ASSERT_TRUE(loaded.snapshot);
    EXPECT_EQ(loaded.snapshot->accounts.prices.size(), 1U);
}

TEST(Prices, AndBudgetsAreShownAsTheyWereGiven)
{
    const std::string text = "budget: {unbounded_cost: 0.5, enforce: strict, soft_threshold: 90}\n"
                             "prices: [{model: a, input: 0.15, output: 0.60}]\n";
    const auto shown = effective_yaml(*load_text(text, "f", {}).snapshot);
    for (const auto* part : {"unbounded_cost: 0.5\n", "enforce: strict\n", "soft_threshold: 90\n",
                             "input: 0.15\n", "output: 0.6\n"}) {
        EXPECT_NE(shown.find(part), std::string::npos) << part << shown;
    }
    EXPECT_EQ(shown.find("cached_input"), std::string::npos);
    EXPECT_EQ(effective_yaml(*load_text(shown, "f", {}).snapshot), shown);
}

TEST(Prices, ThatAreWrongAreToldByPlaceKeyAndExpectation)
{
    const std::array<std::pair<std::string, std::string>, 12> kBroken{{
        {"prices: [{input: 1, output: 2}]", "f:1:10: prices[0].model: expected a value"},
        {"prices: [{model: a, output: 2}]",
         "f:1:10: prices[0].input: expected a value, an amount in USD from 0 to 1000000"},
        {"prices: [{model: a, input: -1, output: 2}]",
         "f:1:28: prices[0].input: expected an amount in USD from 0 to 1000000, such as 2.50; "
         "got "},
        {"prices: [{model: a, input: 1e3, output: 2}]", "f:1:28: prices[0].input: expected"},
        {"prices: [{model: a, input: 1000000.1, output: 2}]", "f:1:28: prices[0].input: expected"},
        {"prices: [{model: a, input: 0.0000000001, output: 2}]",
         "f:1:28: prices[0].input: expected an amount"},
        {"prices: [{model: a, input: 1, output: 2}, {model: a, input: 1, output: 2}]",
         "f:1:44: prices[1].model: expected each model once"},
        {"prices: [{model: a, input: 1, output: 2, provider: opnai}]",
         "f:1:42: prices[0].provider: expected one of openai, mock; got opnai"},
        {"prices: [{model: a, input: 1, output: 2, backend: b}]",
         "f:1:42: prices[0].backend: expected the name of a backend; got b"},
        {"prices: [{model: a, input: 1, output: 2, above_input_tokens: 5}]",
         "f:1:42: prices[0].above_input_tokens: expected an entry for the same model without"},
        {"prices_file: /nowhere/prices.yaml",
         "f:1:14: prices_file: expected the path of a readable file of at most 4MiB; got "
         "/nowhere/prices.yaml"},
        {"budget: {soft_threshold: 101}", "f:1:26: budget.soft_threshold: expected"},
    }};
    for (const auto& [text, told] : kBroken) {
        const auto problem = first_problem(text);
        EXPECT_TRUE(problem.starts_with(told)) << problem;
    }
}

TEST(Prices, OfAFileThatAreWrongAreToldByTheirPlaceInIt)
{
    const std::array<std::pair<std::string, std::string>, 7> kBroken{{
        {"prices:\n  - { model: a, input: x, output: 2 }\n",
         ":2:24: prices[0].input: expected an amount"},
        {"prices:\n  - { model: a, input: 1, output: 2, backend: b }\n",
         ":2:38: prices[0].backend: expected the name of a backend"},
        {"prices:\n  - { model: a, input: 1, output: 2 }\n  - { model: a, input: 1, output: 2 }\n",
         ":3:7: prices[1].model: expected each model once"},
        {"prices: [1,\n", ":2:1: expected valid YAML"},
        {"", ": expected a mapping with the key prices; got nothing"},
        {"- 1\n", ":1:1: expected a mapping; got a list"},
        {"price: []\n", ":1:1: price: expected a known key; did you mean 'prices'?"},
    }};
    for (const auto& [content, told] : kBroken) {
        const PriceFile file(content);
        const auto loaded = file.load();
        ASSERT_EQ(loaded.problems.size(), 1U) << content;
        const auto problem = loaded.problems.front().to_string();
        EXPECT_TRUE(problem.starts_with(file.path() + told)) << problem;
    }
}

TEST(Prices, OfTheExampleLoad)
{
    const std::string path = LLMPROXY_SOURCE_DIR "/config/prices.example.yaml";
    const auto loaded = load_text("prices_file: " + path, "f", {});
    for (const auto& problem : loaded.problems) {
        ADD_FAILURE() << problem.to_string();
    }
    ASSERT_TRUE(loaded.snapshot);
    const auto& prices = loaded.snapshot->accounts.prices;
    EXPECT_EQ(prices.size(), 141U);
    const auto price_of = [&](std::string_view model, std::uint64_t above) {
        return std::find_if(prices.begin(), prices.end(), [&](const auto& price) {
            return price.model == model && price.above_input_tokens == above;
        });
    };
    const auto small = price_of("gpt-4o-mini", 0);
    ASSERT_NE(small, prices.end());
    EXPECT_EQ(small->input, NanoUsd{150'000'000});
    EXPECT_EQ(small->cached_input, NanoUsd{75'000'000});
    EXPECT_EQ(small->output, NanoUsd{600'000'000});
    const auto longer = price_of("gpt-5.4", 272'000);
    ASSERT_NE(longer, prices.end());
    EXPECT_EQ(longer->output, NanoUsd{22'500'000'000});
    for (const auto& price : prices) {
        EXPECT_GT(price.input, NanoUsd{}) << price.model;
        EXPECT_GE(price.output, price.input) << price.model;
    }
}

}  // namespace
}  // namespace llmproxy::config
