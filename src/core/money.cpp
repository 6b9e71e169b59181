#include "llmproxy/core/money.hpp"

#include "llmproxy/core/number.hpp"

namespace llmproxy::core {
namespace {

constexpr std::size_t kDigits = 9;

bool is_digits(std::string_view text) noexcept
{
    return text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<NanoUsd> parse_usd(std::string_view text) noexcept
{
    const auto point = text.find('.');
    const auto whole = text.substr(0, point);
    const bool has_point = point != std::string_view::npos;
    const auto fraction = has_point ? text.substr(point + 1) : std::string_view{};
    if (whole.empty() || (has_point && fraction.empty()) || fraction.size() > kDigits ||
        !is_digits(whole) || !is_digits(fraction)) {
        return std::nullopt;
    }
    const auto dollars = parse_number<std::int64_t>(whole);
    std::int64_t nanos = 0;
    for (std::size_t i = 0; i < kDigits; ++i) {
        nanos = nanos * 10 + (i < fraction.size() ? fraction[i] - '0' : 0);
    }
    std::int64_t count = 0;
    if (!dollars || __builtin_mul_overflow(*dollars, NanoUsd::kPerUsd, &count) ||
        __builtin_add_overflow(count, nanos, &count)) {
        return std::nullopt;
    }
    return NanoUsd{count};
}

std::string to_text(NanoUsd amount)
{
    const bool negative = amount.count < 0;
    // The negative half of the range is the larger one.
    const auto size = negative ? 0U - static_cast<std::uint64_t>(amount.count)
                               : static_cast<std::uint64_t>(amount.count);
    constexpr auto kUnit = static_cast<std::uint64_t>(NanoUsd::kPerUsd);
    std::string text = (negative ? "-" : "") + std::to_string(size / kUnit);
    if (const auto nanos = size % kUnit; nanos != 0) {
        auto fraction = std::to_string(nanos);
        fraction.insert(0, kDigits - fraction.size(), '0');
        fraction.erase(fraction.find_last_not_of('0') + 1);
        text += "." + fraction;
    }
    return text;
}

}  // namespace llmproxy::core
