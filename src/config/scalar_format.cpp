#include "scalar.hpp"

#include "llmproxy/core/money.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace llmproxy::config {
namespace {

constexpr std::string_view kMask = "***";

std::string format_real(double number)
{
    std::array<char, 32> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
    return {text.data(), end};
}

std::string format_integer(const Field& field, std::int64_t number)
{
    if (field.type == Type::enumeration) {
        return field.choices.at(static_cast<std::size_t>(number));
    }
    if (field.type == Type::bytes) {
        return format_bytes(number);
    }
    if (field.type == Type::usd) {
        return core::to_text(core::NanoUsd{number});
    }
    return !field.keyword.empty() && number == 0 ? field.keyword : std::to_string(number);
}

std::string format_text(const Field& field, const std::string& text)
{
    const bool hidden =
        field.masked || field.type == Type::secret || field.type == Type::secret_list;
    if (field.type == Type::port_list) {
        return text;
    }
    return yaml_text(hidden && !text.empty() ? kMask : std::string_view(text));
}

struct Formatter {
    const Field& field;

    std::string operator()(std::monostate) const { return {}; }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return format_integer(field, number); }
    std::string operator()(double number) const { return format_real(number); }
    std::string operator()(std::chrono::nanoseconds time) const { return format_duration(time); }
    std::string operator()(const std::string& text) const { return format_text(field, text); }
    std::string operator()(const std::vector<std::string>& texts) const
    {
        std::string list;
        for (const auto& text : texts) {
            list += (list.empty() ? "" : ", ") + format_text(field, text);
        }
        return "[" + list + "]";
    }
    std::string operator()(const std::map<std::string, std::string>& texts) const
    {
        std::string list;
        for (const auto& [key, text] : texts) {
            list += (list.empty() ? "" : ", ") + yaml_text(key) + ": " + format_text(field, text);
        }
        return "{" + list + "}";
    }
};

bool is_plain(std::string_view text)
{
    constexpr std::string_view kSafe =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    constexpr std::array<std::string_view, 8> kWords{"null", "true", "false", "yes",
                                                     "no",   "on",   "off",   "y"};
    return !text.empty() && text.front() != '-' && text.find_first_not_of(kSafe) == text.npos &&
           text.find_first_not_of("0123456789.") != text.npos &&
           std::none_of(kWords.begin(), kWords.end(),
                        [&](std::string_view word) { return core::iequals(word, text); });
}

std::string list_choices(const Field& field)
{
    std::string list;
    for (std::size_t i = 0; i < field.choices.size(); ++i) {
        list += i == 0 ? "" : (i + 1 == field.choices.size() ? " or " : ", ");
        list += field.choices[i];
    }
    return list;
}

template <typename Format>
std::string range(std::string what, const Field& field, Format format)
{
    const Field unbounded;
    if (field.minimum == unbounded.minimum) {
        return what;
    }
    return what + " from " + format(field.minimum) + " to " + format(field.maximum);
}

std::string bare_hint(BareUnit unit)
{
    switch (unit) {
    case BareUnit::milliseconds: return " (a bare number is milliseconds)";
    case BareUnit::seconds: return " (a bare number is seconds)";
    case BareUnit::refused: break;
    }
    return " with a unit, such as 500ms, 30s or 1h30m";
}

}  // namespace

std::string format_value(const Field& field, const Value& value)
{
    return std::visit(Formatter{field}, value);
}

std::string yaml_text(std::string_view text)
{
    if (is_plain(text)) {
        return std::string(text);
    }
    std::string quoted = "\"";
    core::append_json_escaped(quoted, text);
    return quoted + "\"";
}

std::string expectation(const Field& field)
{
    const auto number = [](std::int64_t n) { return std::to_string(n); };
    const auto money = [](std::int64_t n) { return core::to_text(core::NanoUsd{n}); };
    const auto time = [](std::int64_t n) { return format_duration(std::chrono::nanoseconds(n)); };
    switch (field.type) {
    case Type::boolean: return "true or false";
    case Type::integer:
        return (field.keyword.empty() ? "" : field.keyword + " or ") +
               range("an integer", field, number);
    case Type::real: return range("a number", field, number);
    case Type::duration: return range("a duration", field, time) + bare_hint(field.bare_unit);
    case Type::usd: return range("an amount in USD", field, money) + ", such as 2.50";
    case Type::bytes: return range("a size", field, format_bytes) + ", such as 4096, 32KiB or 1GiB";
    case Type::enumeration: return list_choices(field);
    case Type::enumeration_list: return "a list of " + list_choices(field);
    case Type::string_list: return "a list of texts";
    case Type::port_list: return "a list of ports from 1 to 65535";
    case Type::string_map: return "a mapping of names to texts";
    case Type::secret: return "a secret text";
    case Type::secret_list: return "a list of secret texts";
    case Type::secret_file:
    case Type::items_file: return "the path of a readable file";
    case Type::path: return "a path";
    case Type::items: return "a list of mappings";
    case Type::section: return "a mapping";
    case Type::string: break;
    }
    return "a text";
}

}  // namespace llmproxy::config
