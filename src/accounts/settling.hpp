#pragma once

#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/estimate.hpp"
#include "llmproxy/accounts/grant.hpp"
#include "llmproxy/accounts/price_table.hpp"

#include <vector>

namespace llmproxy::accounts {

/// Fills in what each attempt cost: its tokens at the price of the model that the backend was asked for, else of the one
/// that answered. Where the estimate says that tokens do not tell all, the attempt that was answered costs at least what
/// was reserved, and is marked as estimated.
/// Returns what they used together.
Amount price_attempts(std::vector<Attempt>& attempts, const PriceTable& prices,
                      const Estimate& estimate);

}  // namespace llmproxy::accounts
