#pragma once

#include "llmproxy/config/snapshot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace llmproxy::config {

/// What a field holds, and so how its text is read and shown.
enum class Type : std::uint8_t {
    string,
    boolean,
    integer,
    real,
    duration,
    bytes,
    enumeration,
    enumeration_list,
    string_list,
    port_list,  ///< values are texts of ports
    string_map,
    secret,
    secret_list,
    secret_file,  ///< a path; the value is the file's content
    path,
    items_file,  ///< a path; the file holds further items of the list `items_path`
    usd,         ///< an amount of money; the value is in nano-USD
    items,       ///< a list of mappings; its fields have paths `name[].key`
    section,     ///< a mapping that may be left out, which means something
};

/// What a number without a unit means in a duration.
enum class BareUnit : std::uint8_t { refused, milliseconds, seconds };

/// A typed value. Enumerations are the index of the choice; bytes are integers.
using Value =
    std::variant<std::monostate, bool, std::int64_t, double, std::chrono::nanoseconds, std::string,
                 std::vector<std::string>, std::map<std::string, std::string>>;

/// Where setters write: the settings, and the list items being filled.
struct Cursor {
    Snapshot* root = nullptr;
    edge::ListenerSettings* listener = nullptr;
    upstream::BackendSettings* backend = nullptr;
    upstream::PublicModelSettings* model = nullptr;
    upstream::TargetSettings* target = nullptr;
    auth::StaticToken* token = nullptr;
    accounts::PriceSettings* price = nullptr;
    handlers::ManagementToken* management = nullptr;
};

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <typename T>
void assign(T& target, const Value& value)
{
    if constexpr (kIsOptional<T>) {
        assign(target.emplace(), value);
    } else if constexpr (std::is_same_v<T, core::Secret>) {
        target = core::Secret(std::get<std::string>(value));
    } else if constexpr (std::is_same_v<T, core::NanoUsd>) {
        target = core::NanoUsd{std::get<std::int64_t>(value)};
    } else if constexpr (std::is_enum_v<T> || (std::is_integral_v<T> && !std::is_same_v<T, bool>)) {
        target = static_cast<T>(std::get<std::int64_t>(value));
    } else {
        target = std::get<T>(value);
    }
}

template <typename T>
Value read(const T& source)
{
    if constexpr (kIsOptional<T>) {
        return source ? read(*source) : Value();
    } else if constexpr (std::is_same_v<T, core::Secret>) {
        return source.reveal();
    } else if constexpr (std::is_same_v<T, core::NanoUsd>) {
        return source.count;
    } else if constexpr (std::is_enum_v<T> || (std::is_integral_v<T> && !std::is_same_v<T, bool>)) {
        return static_cast<std::int64_t>(source);
    } else {
        return source;
    }
}

/// One row of the field table. Everything known about a key is here and nowhere else.
struct Field {
    std::string path;  ///< `server.drain_timeout`, `backends[].base_url`
    Type type = Type::string;
    std::string default_text;  ///< as it would be written in the file
    std::string description;

    std::int64_t minimum =
        std::numeric_limits<std::int64_t>::min();  ///< ns for durations, nano-USD for money
    std::int64_t maximum = std::numeric_limits<std::int64_t>::max();
    std::vector<std::string> choices;  ///< of enumerations, in the order of the enumerators
    std::string keyword;               ///< a word that an integer may be instead: 0
    BareUnit bare_unit = BareUnit::refused;
    bool reloadable = true;
    bool required = false;
    bool masked = false;            ///< the values are not shown
    bool unset_is_nothing = false;  ///< an unset `${VAR}` is empty text instead of an error
    std::string items_path;         ///< of an items_file: the list, at the top of the file
    std::string alias_of;           ///< the key that this old name stands for
    std::string example;            ///< shown in the example in place of the default
    bool example_commented = false;
    std::string example_more;  ///< further items, as lines of the example

    std::function<void(Cursor&, const Value&)> set;
    std::function<Value(Cursor&)> get;  ///< none: not part of the effective configuration
    std::function<void(Cursor&)>
        open;  ///< items and sections: adds one and points the cursor at it
    std::function<std::size_t(Cursor&)> count;
    std::function<void(Cursor&, std::size_t)> select;

    /// Sets and gets what `access(cursor)` refers to.
    template <typename Access>
    Field bind(Access access) &&
    {
        set = [access](Cursor& cursor, const Value& value) { assign(access(cursor), value); };
        get = [access](Cursor& cursor) { return read(access(cursor)); };
        return std::move(*this);
    }
    Field between(std::int64_t low, std::int64_t high) &&
    {
        minimum = low;
        maximum = high;
        return std::move(*this);
    }
    Field restart() &&
    {
        reloadable = false;
        return std::move(*this);
    }
    Field must() &&
    {
        required = true;
        return std::move(*this);
    }
    Field show(std::string text) &&
    {
        example = std::move(text);
        return std::move(*this);
    }
    Field commented(std::string text = {}) &&
    {
        example = std::move(text);
        example_commented = true;
        return std::move(*this);
    }
};

/// A row begun: path, type, default, description.
[[nodiscard]] Field field(std::string path, Type type, std::string default_text,
                          std::string description);

/// The same for an enumeration.
[[nodiscard]] Field one_of(std::string path, std::vector<std::string> choices,
                           std::string default_text, std::string description);

/// The table's parts, in the order of the documents.
void add_server_fields(std::vector<Field>& table);
void add_limit_fields(std::vector<Field>& table);
void add_backend_fields(std::vector<Field>& table);
void add_model_fields(std::vector<Field>& table);
void add_backend_resilience_fields(std::vector<Field>& table);
void add_resilience_fields(std::vector<Field>& table);
void add_forward_fields(std::vector<Field>& table);
void add_auth_fields(std::vector<Field>& table);
void add_account_fields(std::vector<Field>& table);
void add_store_fields(std::vector<Field>& table);
void add_management_fields(std::vector<Field>& table);
void add_tracing_fields(std::vector<Field>& table);

/// The field table. Made once; may be read from any thread.
[[nodiscard]] const std::vector<Field>& field_table();

/// The table as the tree that a file follows.
struct Spec {
    std::string name;
    const Field* field = nullptr;  ///< none: a section that groups keys
    std::vector<Spec> children;    ///< empty: a leaf
};

/// The root of the tree: a nameless section. Made once; may be read from any thread.
[[nodiscard]] const Spec& field_tree();

/// The variable by which the environment overrides a field,
/// empty for fields that it cannot (lists, maps, and whatever stands inside a list).
[[nodiscard]] std::string environment_name(const Field& field);

}  // namespace llmproxy::config
