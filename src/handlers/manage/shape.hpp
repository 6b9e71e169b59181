#pragma once

#include "json.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::handlers::manage {

struct Shape;

/// What one value is.
enum class Kind : std::uint8_t {
    text,
    integer,
    number,  ///< only in answers
    boolean,
    usd,      ///< decimal digits, at most nine after the point; a text, or a number in requests
    time,     ///< RFC 3339
    object,   ///< of `Property::shape`
    anything  ///< only in answers
};

/// One field of an object, or one parameter of a query: what is checked and what is documented.
struct Property {
    std::string_view name;
    Kind kind = Kind::text;
    std::string description;
    bool required = false;
    bool nullable = false;
    bool is_list = false;          ///< of such values
    std::size_t most_items = 100;  ///< of a list
    /// Of integers the value, of texts the number of characters.
    std::int64_t minimum = 0;
    std::int64_t maximum = std::numeric_limits<std::int64_t>::max();
    std::vector<std::string_view> choices;  ///< of texts; empty: any
    std::string_view pattern;               ///< of texts, for the document: an ECMA-262 expression
    const Shape* shape = nullptr;
    /// What else a text must be: says what was expected, or nothing if it is right.
    std::string_view (*check)(std::string_view text) = nullptr;

    Property must() &&
    {
        required = true;
        return std::move(*this);
    }
    Property or_null() &&
    {
        nullable = true;
        return std::move(*this);
    }
    Property list(std::size_t most = 100) &&
    {
        is_list = true;
        most_items = most;
        return std::move(*this);
    }
    Property between(std::int64_t low, std::int64_t high) &&
    {
        minimum = low;
        maximum = high;
        return std::move(*this);
    }
    Property one_of(std::vector<std::string_view> words) &&
    {
        choices = std::move(words);
        return std::move(*this);
    }
    Property like(std::string_view expression) &&
    {
        pattern = expression;
        return std::move(*this);
    }
    Property checked(std::string_view (*that)(std::string_view)) &&
    {
        check = that;
        return std::move(*this);
    }
};

/// The fields of an object; others are refused.
struct Shape {
    std::string_view name;  ///< in the document
    std::string_view description;
    std::vector<Property> properties;
};

[[nodiscard]] Property field(std::string_view name, Kind kind, std::string description);
[[nodiscard]] Property object(std::string_view name, const Shape& shape, std::string description);

/// A text of 1 to 200 characters.
[[nodiscard]] Property name_field(std::string_view name, std::string description);

/// Whether `value` is an object of that shape: nothing unknown, nothing missing, types and bounds.
/// Texts hold no control characters. Fails with Errc::bad_request; `param` is the field, e.g.
/// `limits[0].route`.
[[nodiscard]] core::Result<void> conform(const Json& value, const Shape& shape);

/// Reads the query of a target as typed values by name: `%XX` and `+` decoded, valid UTF-8, nothing
/// unknown, nothing twice; lists are separated by commas. Fails with Errc::bad_request.
[[nodiscard]] core::Result<Json> parse_query(std::string_view query,
                                             const std::vector<Property>& parameters);

}  // namespace llmproxy::handlers::manage
