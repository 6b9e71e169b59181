#include "llmproxy/accounts/estimate.hpp"

#include <algorithm>
#include <limits>
#include <string>

namespace llmproxy::accounts {
namespace {

using Kind = RequestShape::Kind;

constexpr auto kMost = std::numeric_limits<std::int64_t>::max();

std::uint64_t add(std::uint64_t a, std::uint64_t b) noexcept
{
    std::uint64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::uint64_t>::max() : sum;
}

std::uint64_t multiply(std::uint64_t a, std::uint64_t b) noexcept
{
    std::uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<std::uint64_t>::max()
                                                  : product;
}

std::int64_t to_count(std::uint64_t tokens) noexcept
{
    return static_cast<std::int64_t>(std::min<std::uint64_t>(tokens, kMost));
}

core::Failure unbounded(std::string reason, std::string param)
{
    core::Failure failure(core::Errc::model_not_allowed, core::Origin::client, reason);
    failure.say("This token is under a budget, and " + reason + ".").at(std::move(param));
    return failure;
}

/// What the price entries of all places say together.
struct Tariff {
    bool complete = true;  ///< each place has a price
    /// Of one choice at any of the places; none if one of them does not tell.
    std::optional<std::uint64_t> max_output = 0;
    std::vector<const ModelPrice*> prices;
};

Tariff tariff_of(std::span<const PricedPlace> places, const PriceTable& table)
{
    Tariff tariff;
    for (const auto& place : places) {
        const auto* const price = table.find(place);
        tariff.complete = tariff.complete && price != nullptr;
        const auto own = price != nullptr ? price->max_output_tokens() : std::nullopt;
        tariff.max_output = own && tariff.max_output
                                ? std::optional(std::max(*own, *tariff.max_output))
                                : std::nullopt;
        if (price != nullptr) {
            tariff.prices.push_back(price);
        }
    }
    if (places.empty()) {
        tariff.complete = false;
        tariff.max_output.reset();
    }
    return tariff;
}

/// Why tokens times price are no bound; empty if they are.
core::Failure why_unbounded(const RequestShape& shape, const Tariff& tariff)
{
    if (shape.kind == Kind::unknown) {
        return unbounded("the cost of such a request is not known beforehand", {});
    }
    if (!tariff.complete) {
        return unbounded("the model has no price here", "model");
    }
    if (shape.remote_content) {
        return unbounded("what the request refers to by URL or id has no known size", {});
    }
    if (shape.hosted_tools) {
        return unbounded("tools that the provider runs have no known cost", "tools");
    }
    return {};
}

}  // namespace

core::Result<Estimate> estimate(const RequestShape& shape, std::span<const PricedPlace> places,
                                const PriceTable& prices, const BudgetSettings& rules,
                                Bounded bounded)
{
    Estimate result;
    if (shape.kind == Kind::free) {
        return result;
    }
    const auto tariff = tariff_of(places, prices);
    std::uint64_t output = 0;
    if (shape.kind == Kind::generates) {
        auto limit = shape.max_output_tokens ? shape.max_output_tokens : tariff.max_output;
        if (!limit) {
            limit = rules.default_max_tokens;
            if (bounded.money || bounded.tokens) {
                result.inject_max_tokens = limit;
            }
        }
        output = multiply(std::max<std::uint64_t>(shape.choices, 1), *limit);
    }
    const auto input = shape.kind == Kind::unknown ? 0 : shape.body_bytes;
    result.most.tokens = to_count(add(input, output));
    for (const auto* const price : tariff.prices) {
        result.most.cost = std::max(result.most.cost, price->most({input, output, shape.audio}));
    }
    if (!bounded.money) {
        return result;
    }
    const auto reason = why_unbounded(shape, tariff);
    if (reason.errc() == core::Errc::none) {
        return result;
    }
    if (!rules.unbounded_cost) {
        return reason;
    }
    result.most.cost = std::max(result.most.cost, *rules.unbounded_cost);
    const bool told_by_tokens =
        tariff.complete && shape.kind != Kind::unknown && !shape.hosted_tools;
    result.costing = told_by_tokens ? Costing::by_tokens_told : Costing::flat;
    return result;
}

}  // namespace llmproxy::accounts
