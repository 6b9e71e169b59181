#include "shape.hpp"

#include "llmproxy/core/money.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/core/time_text.hpp"

#include <simdjson.h>

#include <algorithm>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

/// Characters of a text that is known to be UTF-8.
std::int64_t characters(std::string_view text) noexcept
{
    return std::count_if(text.begin(), text.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; });
}

bool has_control(std::string_view text) noexcept
{
    return std::any_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

std::string words_of(const std::vector<std::string_view>& choices)
{
    std::string words;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        words += i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ";
        words += choices[i];
    }
    return words;
}

std::string range_of(const Property& property)
{
    if (property.maximum == std::numeric_limits<std::int64_t>::max()) {
        return "at least " + std::to_string(property.minimum);
    }
    return "from " + std::to_string(property.minimum) + " to " + std::to_string(property.maximum);
}

/// Checks values against properties; `path` names them.
class Checker {
public:
    core::Result<void> object(const Json& value, const Shape& shape, const std::string& path)
    {
        if (!value.is_object()) {
            return path.empty() ? Failure(Errc::bad_request, Origin::client, "no object")
                                      .say("The body must be a JSON object.")
                                : bad_field(path, "an object");
        }
        for (const auto& [key, unused] : value.items()) {
            const auto known = std::any_of(shape.properties.begin(), shape.properties.end(),
                                           [&](const auto& one) { return one.name == key; });
            if (!known) {
                return unknown(key, path);
            }
        }
        for (const auto& property : shape.properties) {
            const auto name = join(path, property.name);
            const auto found = value.find(property.name);
            if (found == value.end()) {
                if (property.required) {
                    return bad_field(name, "given");
                }
                continue;
            }
            const auto checked = one(*found, property, name);
            if (!checked) {
                return checked;
            }
        }
        return {};
    }

    core::Result<void> one(const Json& value, const Property& property, const std::string& path)
    {
        if (property.nullable && value.is_null()) {
            return {};
        }
        if (!property.is_list) {
            return single(value, property, path);
        }
        if (!value.is_array() || value.size() > property.most_items) {
            return bad_field(path, "a list of at most " + std::to_string(property.most_items) +
                                       " values");
        }
        for (std::size_t i = 0; i < value.size(); ++i) {
            const auto checked = single(value[i], property, path + "[" + std::to_string(i) + "]");
            if (!checked) {
                return checked;
            }
        }
        return {};
    }

private:
    static std::string join(const std::string& path, std::string_view name)
    {
        return path.empty() ? std::string(name) : path + "." + std::string(name);
    }

    static Failure unknown(const std::string& key, const std::string& path)
    {
        auto shown = key.size() > 100 ? key.substr(0, 100) : key;
        Failure failure(Errc::bad_request, Origin::client, "unknown field");
        failure.say("There is no field '" + join(path, shown) + "'.").at(join(path, shown));
        return failure;
    }

    core::Result<void> single(const Json& value, const Property& property, const std::string& path)
    {
        switch (property.kind) {
        case Kind::text: return text(value, property, path);
        case Kind::integer: return integer(value, property, path);
        case Kind::usd: return usd(value, path);
        case Kind::object: return object(value, *property.shape, path);
        case Kind::boolean:
            return value.is_boolean() ? core::Result<void>() : bad_field(path, "true or false");
        case Kind::time:
            return value.is_string() && core::parse_time(value.get_ref<const std::string&>())
                       ? core::Result<void>()
                       : bad_field(path, "a date, or date and time with an offset (RFC 3339)");
        case Kind::number:
        case Kind::anything: break;
        }
        return {};
    }

    static core::Result<void> text(const Json& value, const Property& property,
                                   const std::string& path)
    {
        if (!property.choices.empty()) {
            const bool known =
                value.is_string() &&
                std::find(property.choices.begin(), property.choices.end(),
                          value.get_ref<const std::string&>()) != property.choices.end();
            return known ? core::Result<void>() : bad_field(path, words_of(property.choices));
        }
        const auto* const content = value.get_ptr<const std::string*>();
        const auto length = content == nullptr ? 0 : characters(*content);
        if (content == nullptr || has_control(*content) || length < property.minimum ||
            length > property.maximum) {
            return bad_field(path, "a text of " + std::to_string(property.minimum) + " to " +
                                       std::to_string(property.maximum) +
                                       " characters, without control characters");
        }
        const auto expected = property.check == nullptr ? "" : property.check(*content);
        return expected.empty() ? core::Result<void>() : bad_field(path, expected);
    }

    static core::Result<void> integer(const Json& value, const Property& property,
                                      const std::string& path)
    {
        constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        const bool fits = value.is_number_integer() &&
                          !(value.is_number_unsigned() && value.get<std::uint64_t>() > kMost);
        const auto number = fits ? value.get<std::int64_t>() : 0;
        return fits && number >= property.minimum && number <= property.maximum
                   ? core::Result<void>()
                   : bad_field(path, "a whole number " + range_of(property));
    }

    static core::Result<void> usd(const Json& value, const std::string& path)
    {
        // A number's shortest text is what was written, unless it had more digits than a double.
        const bool fits = (value.is_string() && core::parse_usd(value.get<std::string>())) ||
                          (value.is_number() && core::parse_usd(value.dump()));
        return fits ? core::Result<void>()
                    : bad_field(path, "an amount of US dollars with at most nine decimals");
    }
};

std::optional<std::string> decode(std::string_view text)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i] == '+' ? ' ' : text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? core::hex_value(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? core::hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        out += static_cast<char>(high << 4 | low);
        i += 2;
    }
    return out;
}

/// What a text in a query stands for; a value of a wrong kind stays a text and is refused later.
Json typed(std::string text, const Property& property)
{
    if (property.kind == Kind::integer) {
        if (const auto number = core::parse_number<std::int64_t>(text)) {
            return *number;
        }
    }
    if (property.kind == Kind::boolean && (text == "true" || text == "false")) {
        return text == "true";
    }
    return text;
}

Json typed_list(const std::string& text, const Property& property)
{
    auto values = Json::array();
    core::for_each_item(
        text, [&](std::string_view item) { values.push_back(typed(std::string(item), property)); });
    return values;
}

}  // namespace

Property field(std::string_view name, Kind kind, std::string description)
{
    Property made;
    made.name = name;
    made.kind = kind;
    made.description = std::move(description);
    return made;
}

Property object(std::string_view name, const Shape& shape, std::string description)
{
    auto made = field(name, Kind::object, std::move(description));
    made.shape = &shape;
    return made;
}

Property name_field(std::string_view name, std::string description)
{
    return field(name, Kind::text, std::move(description)).between(1, 200);
}

core::Result<void> conform(const Json& value, const Shape& shape)
{
    return Checker().object(value, shape, {});
}

core::Result<Json> parse_query(std::string_view query, const std::vector<Property>& parameters)
{
    Json values = Json::object();
    while (!query.empty()) {
        const auto end = query.find('&');
        const auto pair = query.substr(0, end);
        query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
        if (pair.empty()) {
            continue;
        }
        const auto equals = pair.find('=');
        const auto name = decode(pair.substr(0, equals));
        auto text = equals == std::string_view::npos ? std::optional<std::string>("")
                                                     : decode(pair.substr(equals + 1));
        if (!name || !text || !simdjson::validate_utf8(*name) || !simdjson::validate_utf8(*text)) {
            return Failure(Errc::bad_request, Origin::client, "query")
                .say("The query is not percent-encoded UTF-8.");
        }
        const auto known = std::find_if(parameters.begin(), parameters.end(),
                                        [&](const auto& one) { return one.name == *name; });
        if (known == parameters.end()) {
            return Failure(Errc::bad_request, Origin::client, "unknown parameter")
                .say("There is no parameter '" + name->substr(0, 100) + "' here.")
                .at(name->substr(0, 100));
        }
        if (values.contains(*name)) {
            return bad_field(*name, "given once");
        }
        auto value = known->is_list ? typed_list(*text, *known) : typed(std::move(*text), *known);
        const auto checked = Checker().one(value, *known, *name);
        if (!checked) {
            return checked.error();
        }
        values[*name] = std::move(value);
    }
    return values;
}

}  // namespace llmproxy::handlers::manage
