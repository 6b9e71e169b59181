#include "llmproxy/accounts/estimate.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace llmproxy::accounts {
namespace {

using core::NanoUsd;
using Kind = RequestShape::Kind;

constexpr Bounded kMoney{true, false};
constexpr Bounded kTokens{false, true};
constexpr Bounded kNothing{false, false};
constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();

PriceSettings entry(std::string model, std::int64_t input, std::int64_t output,
                    std::optional<std::uint64_t> max_output = {})
{
    PriceSettings price;
    price.model = std::move(model);
    price.input = NanoUsd{input * 1'000'000};  // per token, so
    price.output = NanoUsd{output * 1'000'000};
    price.max_output_tokens = max_output;
    return price;
}

/// Asks about model `m` (1 and 10 nano-USD a token), and others beside it.
class EstimateTest : public testing::Test {
protected:
    core::Result<Estimate> ask(const RequestShape& shape, Bounded bounded,
                               std::vector<PricedPlace> places = {{"m", "b", "openai"}})
    {
        return estimate(shape, places, table, rules, bounded);
    }
    static RequestShape chat(std::uint64_t body, std::optional<std::uint64_t> limit = {})
    {
        RequestShape shape;
        shape.body_bytes = body;
        shape.max_output_tokens = limit;
        return shape;
    }

    PriceTable table{{entry("m", 1, 10), entry("dear", 2, 30), entry("short", 1, 10, 500),
                      entry("shorter", 1, 10, 200)}};
    BudgetSettings rules;
};

TEST_F(EstimateTest, TakesBytesAsTokensAndTheRequestsOwnLimit)
{
    const auto found = ask(chat(100, 50), kMoney);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->most, (Amount{NanoUsd{100 + 500}, 150}));
    EXPECT_FALSE(found->inject_max_tokens);
    EXPECT_EQ(found->costing, Costing::by_tokens);
}

TEST_F(EstimateTest, CountsEveryChoice)
{
    auto shape = chat(100, 50);
    shape.choices = 4;
    EXPECT_EQ(ask(shape, kMoney)->most, (Amount{NanoUsd{100 + 2000}, 300}));
    shape.choices = 0;
    EXPECT_EQ(ask(shape, kMoney)->most, (Amount{NanoUsd{100 + 500}, 150}));
}

TEST_F(EstimateTest, TakesTheModelsLimitWhenTheRequestHasNone)
{
    const auto found = ask(chat(0), kMoney, {{"short", "b", ""}, {"shorter", "b", ""}});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->most.tokens, 500);
    EXPECT_FALSE(found->inject_max_tokens);
    EXPECT_EQ(ask(chat(0, 7), kMoney, {{"short", "b", ""}})->most.tokens, 7);
}

TEST_F(EstimateTest, InjectsTheDefaultLimitUnderABudgetOnly)
{
    rules.default_max_tokens = 1000;
    for (const auto bounded : {kMoney, kTokens}) {
        const auto found = ask(chat(10), bounded);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->inject_max_tokens, 1000U);
        EXPECT_EQ(found->most, (Amount{NanoUsd{10 + 10'000}, 1010}));
    }
    EXPECT_FALSE(ask(chat(10), kNothing)->inject_max_tokens);
    EXPECT_EQ(ask(chat(10), kNothing)->most.tokens, 1010);
    // One place that does not tell its limit is enough to need another.
    EXPECT_EQ(ask(chat(0), kMoney, {{"short", "b", ""}, {"m", "b", ""}})->inject_max_tokens, 1000U);
}

TEST_F(EstimateTest, CoversTheDearestPlace)
{
    const std::vector<PricedPlace> places{{"m", "a", ""}, {"dear", "b", ""}, {"short", "c", ""}};
    EXPECT_EQ(ask(chat(100, 10), kMoney, places)->most.cost, NanoUsd{200 + 300});
}

TEST_F(EstimateTest, ExpectsNoOutputOfEmbeddings)
{
    auto shape = chat(100);
    shape.kind = Kind::embeds;
    const auto found = ask(shape, kMoney);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->most, (Amount{NanoUsd{100}, 100}));
    EXPECT_FALSE(found->inject_max_tokens);
}

TEST_F(EstimateTest, ReservesNothingForWhatIsFree)
{
    RequestShape shape;
    shape.kind = Kind::free;
    shape.body_bytes = 1000;
    EXPECT_EQ(ask(shape, kMoney, {})->most, Amount{});
}

TEST_F(EstimateTest, RefusesWhatHasNoBoundUnderAMoneyBudget)
{
    struct Case {
        const char* name;
        std::vector<PricedPlace> places;
        void (*change)(RequestShape&);
        const char* message;
        const char* param;
    };
    const std::vector<PricedPlace> known{{"m", "b", ""}};
    const std::array kCases{
        Case{"model",
             {{"other", "b", ""}},
             [](RequestShape&) {},
             "the model has no price here",
             "model"},
        Case{"one of two",
             {{"m", "b", ""}, {"other", "b", ""}},
             [](RequestShape&) {},
             "the model has no price here",
             "model"},
        Case{"no place", {}, [](RequestShape&) {}, "the model has no price here", "model"},
        Case{"remote", known, [](RequestShape& s) { s.remote_content = true; },
             "what the request refers to by URL or id has no known size", ""},
        Case{"tools", known, [](RequestShape& s) { s.hosted_tools = true; },
             "tools that the provider runs have no known cost", "tools"},
        Case{"kind", known, [](RequestShape& s) { s.kind = Kind::unknown; },
             "the cost of such a request is not known beforehand", ""},
    };
    for (const auto& one : kCases) {
        auto shape = chat(100, 10);
        one.change(shape);
        const auto found = ask(shape, kMoney, one.places);
        ASSERT_FALSE(found) << one.name;
        EXPECT_EQ(found.error().errc(), core::Errc::model_not_allowed) << one.name;
        EXPECT_EQ(found.error().message(),
                  std::string("This token is under a budget, and ") + one.message + ".");
        EXPECT_EQ(found.error().param(), one.param) << one.name;
        EXPECT_TRUE(ask(shape, kTokens, one.places)) << one.name;
        EXPECT_TRUE(ask(shape, kNothing, one.places)) << one.name;
    }
}

TEST_F(EstimateTest, ReservesTheConfiguredBoundForWhatHasNone)
{
    rules.unbounded_cost = NanoUsd{5000};
    auto shape = chat(100, 10);
    auto found = ask(shape, kMoney, {{"other", "b", ""}});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->most, (Amount{NanoUsd{5000}, 110}));
    EXPECT_EQ(found->costing, Costing::flat);

    shape.remote_content = true;
    found = ask(shape, kMoney);
    EXPECT_EQ(found->most.cost, NanoUsd{5000});
    EXPECT_EQ(found->costing, Costing::by_tokens_told);

    shape.hosted_tools = true;
    EXPECT_EQ(ask(shape, kMoney)->costing, Costing::flat);

    shape.max_output_tokens = 1'000'000;
    EXPECT_EQ(ask(shape, kMoney)->most.cost, NanoUsd{10'000'100});
    EXPECT_EQ(ask(shape, kNothing)->costing, Costing::by_tokens);

    shape = chat(100);
    shape.kind = Kind::unknown;
    found = ask(shape, kMoney);
    EXPECT_EQ(found->most, (Amount{NanoUsd{5000}, 0}));
    EXPECT_EQ(found->costing, Costing::flat);
    EXPECT_FALSE(found->inject_max_tokens);
}

TEST_F(EstimateTest, StaysWithinTheTypesWhateverIsAsked)
{
    auto shape = chat(kMost, kMost);
    shape.choices = kMost;
    const auto found = ask(shape, kMoney);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->most, (Amount{NanoUsd::max(), std::numeric_limits<std::int64_t>::max()}));
}

TEST(LikelyTokens, AreFourBytesEach)
{
    EXPECT_EQ(likely_tokens(0), 0);
    EXPECT_EQ(likely_tokens(1), 1);
    EXPECT_EQ(likely_tokens(8), 2);
    EXPECT_EQ(likely_tokens(kMost), 4'611'686'018'427'387'904);
}

}  // namespace
}  // namespace llmproxy::accounts
