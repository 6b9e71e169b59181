#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::upstream::mock {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

/// A member of an object, or a null value if there is none or `object` is no object.
[[nodiscard]] const Json& member(const Json& object, const char* name);
/// A text; empty if the value is something else.
[[nodiscard]] std::string_view text_of(const Json& value);
/// Whether the value is `true`.
[[nodiscard]] bool is_true(const Json& value);

/// One line of JSON; never throws for text that is not UTF-8.
[[nodiscard]] std::string dump(const OrderedJson& value);

/// The `error` object of a reply with this status.
[[nodiscard]] OrderedJson error_object(unsigned status, std::string_view message,
                                       std::string_view param);

}  // namespace llmproxy::upstream::mock
