#include "support/json_schema.hpp"

#include <algorithm>
#include <regex>
#include <set>

namespace llmproxy::test {
namespace {

using nlohmann::json;

bool has_type(const json& value, const std::string& type)
{
    return (type == "null" && value.is_null()) || (type == "string" && value.is_string()) ||
           (type == "integer" && value.is_number_integer()) ||
           (type == "number" && value.is_number()) || (type == "boolean" && value.is_boolean()) ||
           (type == "array" && value.is_array()) || (type == "object" && value.is_object());
}

std::string check_type(const json& value, const json& types, const std::string& place)
{
    const auto all = types.is_array() ? types : json::array({types});
    const bool fits = std::any_of(all.begin(), all.end(), [&](const json& one) {
        return has_type(value, one.get<std::string>());
    });
    return fits ? "" : place + " is no " + types.dump() + ": " + value.dump();
}

std::string check_text(const json& value, const json& schema, const std::string& place)
{
    const auto& text = value.get_ref<const std::string&>();
    const auto length =
        static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
            return (static_cast<unsigned>(c) & 0xc0U) != 0x80U;
        }));
    if (length < schema.value("minLength", std::size_t{0}) ||
        length > schema.value("maxLength", std::string::npos)) {
        return place + " has a wrong length: " + text;
    }
    if (schema.contains("pattern") &&
        !std::regex_search(text, std::regex(schema["pattern"].get<std::string>()))) {
        return place + " does not match " + schema["pattern"].dump() + ": " + text;
    }
    static const std::regex time(R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$)");
    if (schema.value("format", "") == "date-time" && !std::regex_match(text, time)) {
        return place + " is no time: " + text;
    }
    return "";
}

std::string check_object(const json& value, const json& schema, const json& document,
                         const std::string& place)
{
    for (const auto& name : schema.value("required", json::array())) {
        if (!value.contains(name.get<std::string>())) {
            return place + " lacks " + name.dump();
        }
    }
    const auto properties = schema.value("properties", json::object());
    for (const auto& [name, one] : value.items()) {
        if (!properties.contains(name)) {
            if (schema.value("additionalProperties", json(true)) == false) {
                return place + " has the undocumented field " + name;
            }
            continue;
        }
        auto found = mismatch(one, properties[name], document, place + "." + name);
        if (!found.empty()) {
            return found;
        }
    }
    return "";
}

std::string check_list(const json& value, const json& schema, const json& document,
                       const std::string& place)
{
    if (value.size() > schema.value("maxItems", std::string::npos)) {
        return place + " has too many items";
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
        auto found = mismatch(value[i], schema.value("items", json::object()), document,
                              place + "[" + std::to_string(i) + "]");
        if (!found.empty()) {
            return found;
        }
    }
    return "";
}

std::string check_number(const json& value, const json& schema, const std::string& place)
{
    const bool fits = (!schema.contains("minimum") || value >= schema["minimum"]) &&
                      (!schema.contains("maximum") || value <= schema["maximum"]);
    return fits ? "" : place + " is out of bounds: " + value.dump();
}

}  // namespace

std::string mismatch(const json& value, const json& schema, const json& document,
                     const std::string& place)
{
    static const std::set<std::string> known{
        "$ref",      "anyOf",     "type",        "enum",
        "minLength", "maxLength", "pattern",     "format",
        "minimum",   "maximum",   "properties",  "required",
        "items",     "maxItems",  "description", "additionalProperties"};
    for (const auto& [keyword, unused] : schema.items()) {
        if (!known.contains(keyword)) {
            return place + ": the keyword " + keyword + " is not checked";
        }
    }
    if (schema.contains("$ref")) {
        const auto target = schema["$ref"].get<std::string>().substr(1);
        return mismatch(value, document.at(json::json_pointer(target)), document, place);
    }
    if (schema.contains("anyOf")) {
        std::string all;
        for (const auto& one : schema["anyOf"]) {
            const auto found = mismatch(value, one, document, place);
            if (found.empty()) {
                return "";
            }
            all += found + "; ";
        }
        return all;
    }
    if (schema.contains("type")) {
        auto found = check_type(value, schema["type"], place);
        if (!found.empty()) {
            return found;
        }
    }
    if (schema.contains("enum") &&
        std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
        return place + " is not one of " + schema["enum"].dump() + ": " + value.dump();
    }
    if (value.is_string()) {
        return check_text(value, schema, place);
    }
    if (value.is_object()) {
        return check_object(value, schema, document, place);
    }
    if (value.is_array()) {
        return check_list(value, schema, document, place);
    }
    return value.is_number() ? check_number(value, schema, place) : "";
}

}  // namespace llmproxy::test
