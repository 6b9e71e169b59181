#include "settling.hpp"

#include <algorithm>
#include <limits>

namespace llmproxy::accounts {
namespace {

const ModelPrice* price_of(const Attempt& attempt, const PriceTable& prices)
{
    const auto* const asked = prices.find({attempt.model, attempt.row.backend, attempt.provider});
    return asked != nullptr || attempt.row.served_model.empty()
               ? asked
               : prices.find({attempt.row.served_model, attempt.row.backend, attempt.provider});
}

bool was_answered(const Attempt& attempt) noexcept
{
    return attempt.row.status >= 200 && attempt.row.status < 300;
}

/// What the attempt that was answered has to cost at least.
core::NanoUsd least_of(const Attempt& answered, const Estimate& estimate) noexcept
{
    const bool told = !answered.row.estimated && answered.row.tokens.total() > 0;
    switch (estimate.costing) {
    case Costing::by_tokens: return {};
    case Costing::by_tokens_told: return told ? core::NanoUsd{} : estimate.most.cost;
    case Costing::flat: break;
    }
    return estimate.most.cost;
}

std::int64_t add(std::int64_t a, std::int64_t b) noexcept
{
    std::int64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::int64_t>::max() : sum;
}

}  // namespace

Amount price_attempts(std::vector<Attempt>& attempts, const PriceTable& prices,
                      const Estimate& estimate)
{
    for (auto& attempt : attempts) {
        const auto* const price = price_of(attempt, prices);
        attempt.row.priced = price != nullptr;
        attempt.row.cost = price != nullptr ? price->cost(attempt.row.tokens) : core::NanoUsd{};
    }
    const auto answered = std::find_if(attempts.rbegin(), attempts.rend(), was_answered);
    if (answered != attempts.rend()) {
        auto& row = answered->row;
        if (const auto least = least_of(*answered, estimate); row.cost < least) {
            row.cost = least;
            row.priced = true;
            row.estimated = true;
        }
    }
    Amount used;
    for (const auto& attempt : attempts) {
        used.cost += attempt.row.cost;
        used.tokens = add(used.tokens, std::max<std::int64_t>(attempt.row.tokens.total(), 0));
    }
    return used;
}

}  // namespace llmproxy::accounts
