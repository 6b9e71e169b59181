#include "scalar.hpp"

#include "llmproxy/core/host.hpp"
#include "llmproxy/core/money.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace llmproxy::config {
namespace {

constexpr double kLargest = 9.0e18;  // below 2^63, so that the sum still fits an int64

struct Unit {
    std::string_view name;
    std::int64_t factor;
};

constexpr std::array<Unit, 6> kTimes{{
    {"ns", 1},
    {"us", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"h", 3'600'000'000'000},
}};

constexpr std::array<Unit, 10> kSizes{{
    {"", 1},
    {"B", 1},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", 1LL << 10},
    {"MiB", 1LL << 20},
    {"GiB", 1LL << 30},
    {"TiB", 1LL << 40},
}};

template <std::size_t N>
const Unit* find_unit(const std::array<Unit, N>& units, std::string_view name)
{
    const auto found =
        std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
    return found == units.end() ? nullptr : &*found;
}

constexpr bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

/// Takes a number off the front: digits, perhaps a point and digits.
std::optional<double> take_decimal(std::string_view& text)
{
    std::size_t length = 0;
    while (length < text.size() &&
           (is_digit(text[length]) || (length > 0 && text[length] == '.'))) {
        ++length;
    }
    const auto number = core::parse_number<double>(text.substr(0, length));
    text.remove_prefix(length);
    return number;
}

std::string_view take_letters(std::string_view& text)
{
    std::size_t length = 0;
    while (length < text.size() && !is_digit(text[length]) && text[length] != '.') {
        ++length;
    }
    const auto letters = text.substr(0, length);
    text.remove_prefix(length);
    return letters;
}

std::optional<bool> parse_boolean(std::string_view text)
{
    if (core::iequals(text, "true") || core::iequals(text, "yes") || core::iequals(text, "on")) {
        return true;
    }
    if (core::iequals(text, "false") || core::iequals(text, "no") || core::iequals(text, "off")) {
        return false;
    }
    return std::nullopt;
}

template <typename T>
Value bounded(const Field& field, std::optional<T> number)
{
    const bool fits = number && *number >= static_cast<T>(field.minimum) &&
                      *number <= static_cast<T>(field.maximum);  // false for a NaN too
    return fits ? Value(*number) : Value();
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text, BareUnit bare)
{
    double total = 0;
    bool first = true;
    std::int64_t smallest_so_far = std::numeric_limits<std::int64_t>::max();
    while (!text.empty()) {
        const auto number = take_decimal(text);
        auto unit_name = take_letters(text);
        if (first && text.empty() && unit_name.empty() && bare != BareUnit::refused) {
            unit_name = bare == BareUnit::seconds ? "s" : "ms";
        }
        const auto* unit = find_unit(kTimes, unit_name);
        if (!number || unit == nullptr || unit->factor >= smallest_so_far) {
            return std::nullopt;
        }
        smallest_so_far = unit->factor;
        total += *number * static_cast<double>(unit->factor);
        first = false;
    }
    if (first || total > kLargest) {
        return std::nullopt;
    }
    return std::chrono::nanoseconds(std::llround(total));
}

std::optional<std::int64_t> parse_bytes(std::string_view text)
{
    const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = core::parse_number<std::int64_t>(text.substr(0, digits));
    const auto* unit = find_unit(kSizes, core::trim(text.substr(digits)));
    if (!number || unit == nullptr ||
        *number > std::numeric_limits<std::int64_t>::max() / unit->factor) {
        return std::nullopt;
    }
    return *number * unit->factor;
}

std::string format_duration(std::chrono::nanoseconds duration)
{
    auto rest = duration.count();
    std::string text;
    for (auto unit = kTimes.rbegin(); unit != kTimes.rend(); ++unit) {
        if (rest >= unit->factor) {
            text += std::to_string(rest / unit->factor);
            text += unit->name;
            rest %= unit->factor;
        }
    }
    return text.empty() ? "0s" : text;
}

std::string format_bytes(std::int64_t bytes)
{
    const auto* best = &kSizes.front();
    for (const auto& unit : kSizes) {
        const bool binary = unit.name.ends_with("iB");
        if (binary && bytes != 0 && bytes % unit.factor == 0) {
            best = &unit;
        }
    }
    return std::to_string(bytes / best->factor) + std::string(best->name);
}

Value parse_scalar(const Field& field, std::string_view text)
{
    switch (field.type) {
    case Type::port_list: return core::parse_port(text) ? Value(std::string(text)) : Value();
    case Type::boolean:
        if (const auto flag = parse_boolean(text)) {
            return *flag;
        }
        return {};
    case Type::integer:
        if (!field.keyword.empty() && text == field.keyword) {
            return std::int64_t{0};
        }
        return bounded(field, core::parse_number<std::int64_t>(text));
    case Type::bytes: return bounded(field, parse_bytes(text));
    case Type::usd: {
        const auto amount = core::parse_usd(text);
        return bounded(field, amount ? std::optional(amount->count) : std::nullopt);
    }
    case Type::real: return bounded(field, core::parse_number<double>(text));
    case Type::duration:
        if (const auto duration = parse_duration(text, field.bare_unit);
            duration && duration->count() >= field.minimum && duration->count() <= field.maximum) {
            return *duration;
        }
        return {};
    case Type::enumeration:
    case Type::enumeration_list: {
        const auto found = std::find(field.choices.begin(), field.choices.end(), text);
        if (found == field.choices.end()) {
            return {};
        }
        return static_cast<std::int64_t>(found - field.choices.begin());
    }
    default: return std::string(text);
    }
}

}  // namespace llmproxy::config
