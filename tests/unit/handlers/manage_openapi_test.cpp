#include "handlers/manage/openapi.hpp"

#include "handlers/manage/route.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

/// Calls `f` with each object in `value` and below.
template <typename F>
void for_each_object(const Json& value, F&& f)
{
    if (value.is_object()) {
        f(value);
    }
    if (value.is_structured()) {
        for (const auto& one : value) {
            for_each_object(one, f);
        }
    }
}

TEST(ManageOpenApi, HoldsEveryRouteAndNothingElse)
{
    const auto document = openapi_document("1.2.3");
    EXPECT_EQ(document["openapi"], "3.1.0");
    EXPECT_EQ(document["info"]["version"], "1.2.3");
    std::size_t operations = 0;
    for (const auto& [path, methods] : document["paths"].items()) {
        operations += methods.size();
    }
    EXPECT_EQ(operations, routes().size());
    for (const auto& route : routes()) {
        const auto name = std::string(boost::beast::http::to_string(route.verb));
        std::string method;
        for (const char c : name) {
            method += static_cast<char>(c + ('a' - 'A'));
        }
        const auto& operation = document["paths"].at(std::string(route.path)).at(method);
        EXPECT_EQ(operation["operationId"], route.operation);
        for (const auto status : route.statuses()) {
            EXPECT_TRUE(operation["responses"].contains(std::to_string(status)));
        }
        EXPECT_EQ(operation["responses"].size(), route.statuses().size());
    }
}

TEST(ManageOpenApi, EveryReferenceLeadsSomewhere)
{
    const auto document = openapi_document("1");
    std::size_t references = 0;
    for_each_object(document, [&](const Json& object) {
        if (object.contains("$ref")) {
            const auto target = object["$ref"].get<std::string>();
            ASSERT_TRUE(target.starts_with("#/"));
            EXPECT_TRUE(document.contains(Json::json_pointer(target.substr(1)))) << target;
            ++references;
        }
    });
    EXPECT_GT(references, routes().size());
}

TEST(ManageOpenApi, ObjectsAreClosedAndNullableFieldsSayIt)
{
    const auto document = openapi_document("1");
    const auto& schemas = document["components"]["schemas"];
    for (const auto& [name, schema] : schemas.items()) {
        if (name != "Error") {
            EXPECT_EQ(schema["additionalProperties"], false) << name;
        }
    }
    EXPECT_EQ(schemas["Token"]["properties"]["expires_at"]["type"],
              Json::array({"string", "null"}));
    EXPECT_EQ(schemas["TokenCreate"]["required"], Json::array({"project", "name"}));
    EXPECT_EQ(schemas["ProjectList"]["properties"]["data"]["items"]["$ref"],
              "#/components/schemas/Project");
    EXPECT_FALSE(schemas["Token"]["properties"].contains("secret"));
    EXPECT_TRUE(schemas["NewToken"]["properties"].contains("secret"));
    EXPECT_FALSE(schemas["ProviderKey"]["properties"].contains("key"));
}

TEST(ManageOpenApi, PathParametersAreDeclared)
{
    const auto document = openapi_document("1");
    const auto& parameters =
        document["paths"]["/manage/tokens/{token}/limits"]["put"]["parameters"];
    ASSERT_EQ(parameters.size(), 2U);
    EXPECT_EQ(parameters[0]["name"], "token");
    EXPECT_EQ(parameters[0]["in"], "path");
    EXPECT_EQ(parameters[1]["name"], "If-Match");
    EXPECT_EQ(parameters[1]["required"], true);
}

}  // namespace
}  // namespace llmproxy::handlers::manage
