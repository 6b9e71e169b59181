#pragma once

#include "llmproxy/accounts/budget.hpp"
#include "llmproxy/accounts/price_table.hpp"
#include "llmproxy/accounts/settings.hpp"
#include "llmproxy/core/failure.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace llmproxy::accounts {

/// What of a request bears on what it can cost.
struct RequestShape {
    enum class Kind : std::uint8_t {
        generates,  ///< text for text, of a length that can be limited
        embeds,     ///< no output tokens
        unknown,    ///< its cost has nothing to do with the body's tokens: images, batches
        free        ///< costs nothing: lists, deletions, tunnels
    };
    Kind kind = Kind::generates;
    std::uint64_t body_bytes = 0;                    ///< no text has more tokens than bytes
    std::optional<std::uint64_t> max_output_tokens;  ///< the request's own limit
    std::uint64_t choices = 1;                       ///< `n`, `best_of`
    /// Refers to what is not in the body: images by URL, files, earlier responses and stored prompts by id.
    bool remote_content = false;
    bool hosted_tools = false;  ///< lets the upstream run tools that it bills apart
    bool audio = false;         ///< has, or asks for, audio
};

/// How the cost is known in the end.
enum class Costing : std::uint8_t {
    by_tokens,       ///< tokens times price
    by_tokens_told,  ///< the same if the upstream tells the tokens, else what was reserved
    flat,            ///< at least what was reserved
};

/// What a request is reserved.
struct Estimate {
    Amount most;
    /// A limit of output tokens that the request must be given, per choice, for `most` to hold.
    std::optional<std::uint64_t> inject_max_tokens;
    Costing costing = Costing::by_tokens;
};

/// What is bounded for the request's account, and so has to be known beforehand.
struct Bounded {
    bool money = false;
    bool tokens = false;
};

/// The upper bound of what a request costs at whichever of `places` it goes to: ((body bytes as tokens) + choices x most
/// output) x price. The output's bound is the request's own, else the price entries', else
/// `budget.default_max_tokens`, which must then be injected.
///
/// What nothing bounds is estimated as well as can be; under a money budget it is reserved `budget.unbounded_cost`, or
/// fails with Errc::model_not_allowed if there is none: a model without price, remote content, hosted tools, an
/// unknown kind.
[[nodiscard]] core::Result<Estimate> estimate(const RequestShape& shape,
                                              std::span<const PricedPlace> places,
                                              const PriceTable& prices, const BudgetSettings& rules,
                                              Bounded bounded);

/// How many tokens so much text has, when nobody tells: four bytes each. For usage that is marked as estimated.
[[nodiscard]] constexpr std::int64_t likely_tokens(std::uint64_t bytes) noexcept
{
    return static_cast<std::int64_t>(bytes / 4 + (bytes % 4 != 0 ? 1 : 0));
}

}  // namespace llmproxy::accounts
