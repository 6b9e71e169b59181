#include "openapi.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/exchange.hpp"
#include "route.hpp"

#include <limits>

namespace llmproxy::handlers::manage {
namespace {

constexpr std::string_view kUsdPattern = R"(^[0-9]{1,10}(\.[0-9]{1,9})?$)";
constexpr std::string_view kSignedUsdPattern = R"(^-?[0-9]{1,10}(\.[0-9]{1,9})?$)";

std::string reference(std::string_view kind, std::string_view name)
{
    return "#/components/" + std::string(kind) + "/" + std::string(name);
}

/// Makes the parts of the document and collects the schemas they refer to.
class Writer {
public:
    Json schema_of(const Property& property, bool in_request)
    {
        auto one = single(property, in_request);
        if (property.is_list) {
            Json list{{"type", "array"}, {"items", std::move(one)}};
            list["maxItems"] = property.most_items;
            one = std::move(list);
        }
        if (property.nullable) {
            one = or_null(std::move(one));
        }
        return one;
    }

    Json reference_to(const Shape& shape, bool in_request)
    {
        const std::string name(shape.name);
        if (!schemas_.contains(name)) {
            schemas_[name] = Json::object();  // a shape may hold itself
            schemas_[name] = object(shape, in_request);
        }
        return {{"$ref", reference("schemas", name)}};
    }

    [[nodiscard]] Json take_schemas() { return std::move(schemas_); }

private:
    static Json or_null(Json schema)
    {
        if (schema.contains("$ref") || schema.contains("enum")) {
            return {{"anyOf", Json::array({std::move(schema), Json{{"type", "null"}}})}};
        }
        auto types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
        types.push_back("null");
        schema["type"] = std::move(types);
        return schema;
    }

    static void bound(Json& schema, const Property& property, const char* low, const char* high)
    {
        schema[low] = property.minimum;
        if (property.maximum != std::numeric_limits<std::int64_t>::max()) {
            schema[high] = property.maximum;
        }
    }

    Json single(const Property& property, bool in_request)
    {
        switch (property.kind) {
        case Kind::text: return text(property);
        case Kind::integer: {
            Json schema{{"type", "integer"}, {"format", "int64"}};
            bound(schema, property, "minimum", "maximum");
            return schema;
        }
        case Kind::number: return {{"type", "number"}};
        case Kind::boolean: return {{"type", "boolean"}};
        case Kind::usd:
            return in_request
                       ? Json{{"type", Json::array({"string", "number"})}, {"pattern", kUsdPattern}}
                       : Json{{"type", "string"}, {"pattern", kSignedUsdPattern}};
        case Kind::time: return {{"type", "string"}, {"format", "date-time"}};
        case Kind::object: return reference_to(*property.shape, in_request);
        case Kind::anything: break;
        }
        return Json::object();
    }

    static Json text(const Property& property)
    {
        Json schema{{"type", "string"}};
        if (!property.choices.empty()) {
            schema["enum"] = property.choices;
            return schema;
        }
        bound(schema, property, "minLength", "maxLength");
        if (!property.pattern.empty()) {
            schema["pattern"] = property.pattern;
        }
        return schema;
    }

    Json object(const Shape& shape, bool in_request)
    {
        Json properties = Json::object();
        auto required = Json::array();
        for (const auto& property : shape.properties) {
            auto one = schema_of(property, in_request);
            if (!property.description.empty()) {
                one["description"] = property.description;
            }
            properties[std::string(property.name)] = std::move(one);
            if (property.required) {
                required.push_back(property.name);
            }
        }
        Json schema{{"type", "object"}, {"description", shape.description}};
        schema["properties"] = std::move(properties);
        schema["required"] = std::move(required);
        schema["additionalProperties"] = false;
        return schema;
    }

    Json schemas_ = Json::object();
};

Json parameter(std::string_view name, std::string_view where, bool required, Json schema,
               std::string_view description)
{
    Json made{{"name", name}, {"in", where}, {"required", required}};
    if (!description.empty()) {
        made["description"] = description;
    }
    made["schema"] = std::move(schema);
    if (made["schema"].contains("items")) {
        made["style"] = "form";
        made["explode"] = false;
    }
    return made;
}

Json parameters_of(const Route& route, Writer& writer)
{
    auto all = Json::array();
    for (const auto name : route.path_parameters()) {
        Json schema{{"type", "string"}, {"minLength", 1}};
        all.push_back(parameter(name, "path", true, std::move(schema), ""));
    }
    for (const auto& one : route.query) {
        all.push_back(parameter(one.name, "query", one.required, writer.schema_of(one, true),
                                one.description));
    }
    if (route.conditional || route.verb == http::Verb::delete_) {
        Json schema{{"type", "string"}};
        all.push_back(parameter("If-Match", "header", route.conditional, std::move(schema),
                                "The ETag of what was read, or `*`."));
    }
    return all;
}

Json success_of(const Route& route, Writer& writer)
{
    Json response{{"description", std::string(http::reason_of(route.status))}};
    if (route.has_etag) {
        Json schema{{"type", "string"}};
        response["headers"]["ETag"] = Json{{"schema", std::move(schema)}};
    }
    if (route.response != nullptr) {
        response["content"]["application/json"]["schema"] =
            writer.reference_to(*route.response, false);
    }
    for (const auto media : route.media) {
        response["content"][std::string(media)] = Json::object();
    }
    return response;
}

Json operation_of(const Route& route, Writer& writer)
{
    Json operation{{"operationId", route.operation}};
    operation["tags"] = Json::array({route.tag});
    operation["summary"] = route.summary;
    auto parameters = parameters_of(route, writer);
    if (!parameters.empty()) {
        operation["parameters"] = std::move(parameters);
    }
    if (route.request != nullptr) {
        auto& body = operation["requestBody"];
        body["required"] = !route.body_optional;
        body["content"]["application/json"]["schema"] = writer.reference_to(*route.request, true);
    }
    for (const auto status : route.statuses()) {
        operation["responses"][std::to_string(status)] =
            status == route.status ? success_of(route, writer)
                                   : Json{{"$ref", reference("responses", "Error")}};
    }
    return operation;
}

Json error_schema()
{
    const auto text = Json{{"type", "string"}};
    const auto text_or_null = Json{{"type", Json::array({"string", "null"})}};
    Json inner{{"type", "object"}};
    inner["properties"] =
        Json{{"message", text}, {"type", text}, {"param", text_or_null}, {"code", text}};
    inner["required"] = Json::array({"message", "type", "param", "code"});
    Json schema{{"type", "object"}, {"description", "An error; `param` names the field."}};
    schema["properties"]["error"] = std::move(inner);
    schema["required"] = Json::array({"error"});
    return schema;
}

}  // namespace

Json openapi_document(std::string_view version)
{
    Writer writer;
    Json document{{"openapi", "3.1.0"}};
    document["info"] = Json{{"title", "llm-proxy management API"}, {"version", version}};
    document["security"] = Json::array({Json{{"token", Json::array()}}});
    auto& paths = document["paths"];
    for (const auto& route : routes()) {
        const auto name = boost::beast::http::to_string(route.verb);
        std::string method;
        for (const char c : std::string_view(name.data(), name.size())) {
            method += core::lower(c);
        }
        paths[std::string(route.path)][method] = operation_of(route, writer);
    }
    auto& components = document["components"];
    components["securitySchemes"]["token"] = Json{{"type", "http"}, {"scheme", "bearer"}};
    auto& failed = components["responses"]["Error"];
    failed["description"] = "It was refused or failed.";
    failed["content"]["application/json"]["schema"] = Json{{"$ref", reference("schemas", "Error")}};
    components["schemas"] = writer.take_schemas();
    components["schemas"]["Error"] = error_schema();
    return document;
}

}  // namespace llmproxy::handlers::manage
