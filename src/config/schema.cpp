#include "llmproxy/config/documents.hpp"

#include "field.hpp"
#include "scalar.hpp"

#include <nlohmann/json.hpp>

#include <string_view>

namespace llmproxy::config {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kReference = R"(\$\{)";
constexpr std::string_view kDuration = R"(^([0-9]+(\.[0-9]*)?(ns|us|ms|s|m|h))+$|\$\{)";
constexpr std::string_view kSize = R"(^[0-9]+ *([KMGT]i?B|B)?$|\$\{)";

/// The value itself, or a text in which the environment is referred to.
Json or_reference(Json plain)
{
    return {
        {"anyOf", Json::array({std::move(plain), {{"type", "string"}, {"pattern", kReference}}})}};
}

Json pattern(std::string_view text)
{
    return {{"type", "string"}, {"pattern", text}};
}

Json number_schema(const Field& field, const char* type)
{
    const Field unbounded;
    Json plain{{"type", type}};
    if (field.minimum != unbounded.minimum) {
        plain["minimum"] = field.minimum;
        plain["maximum"] = field.maximum;
    }
    auto schema = or_reference(std::move(plain));
    if (!field.keyword.empty()) {
        schema["anyOf"].push_back({{"const", field.keyword}});
    }
    return schema;
}

Json leaf_schema(const Field& field)
{
    switch (field.type) {
    case Type::boolean: return or_reference({{"type", "boolean"}});
    case Type::integer: return number_schema(field, "integer");
    case Type::real: return number_schema(field, "number");
    case Type::usd: return or_reference({{"type", "number"}, {"minimum", 0}});
    case Type::bytes: {
        auto schema = number_schema(field, "integer");
        schema["anyOf"].push_back(pattern(kSize));
        return schema;
    }
    case Type::duration: return pattern(kDuration);
    case Type::enumeration: return or_reference({{"enum", field.choices}});
    case Type::enumeration_list:
        return {
            {"type", "array"}, {"minItems", 1}, {"items", or_reference({{"enum", field.choices}})}};
    case Type::port_list:
        return {{"type", "array"},
                {"items", or_reference({{"type", "integer"}, {"minimum", 1}, {"maximum", 65535}})}};
    case Type::string_list:
    case Type::secret_list: return {{"type", "array"}, {"items", {{"type", "string"}}}};
    case Type::string_map:
        return {{"type", "object"}, {"additionalProperties", {{"type", "string"}}}};
    default: return {{"type", "string"}};
    }
}

Json schema_of(const Spec& spec)
{
    Json schema;
    if (spec.children.empty()) {
        schema = leaf_schema(*spec.field);
    } else {
        schema = {{"type", "object"}, {"additionalProperties", false}};
        auto required = Json::array();
        for (const auto& child : spec.children) {
            schema["properties"][child.name] = schema_of(child);
            if (child.field != nullptr && child.field->required) {
                required.push_back(child.name);
            }
        }
        if (!required.empty()) {
            schema["required"] = std::move(required);
        }
        if (spec.field != nullptr && spec.field->type == Type::items) {
            schema = {{"type", "array"}, {"items", std::move(schema)}};
        }
    }
    if (spec.field != nullptr) {
        schema["description"] = spec.field->description;
        if (!spec.field->default_text.empty() && spec.field->type != Type::items) {
            schema["description"] =
                spec.field->description + " Default: " + spec.field->default_text;
        }
        if (!spec.field->alias_of.empty()) {
            schema["deprecated"] = true;
        }
    }
    return schema;
}

}  // namespace

std::string schema_json()
{
    Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                {"title", "llm-proxy configuration"}};
    schema.update(schema_of(field_tree()));
    return schema.dump(2) + "\n";
}

}  // namespace llmproxy::config
