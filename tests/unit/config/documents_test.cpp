#include "llmproxy/config/documents.hpp"

#include "config/field.hpp"
#include "config/scalar.hpp"
#include "llmproxy/config/load.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace llmproxy::config {
namespace {

const std::filesystem::path kRoot = LLMPROXY_SOURCE_DIR;

std::string content(const std::filesystem::path& path)
{
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

TEST(Documents, InTheTreeAreWhatTheTableMakes)
{
    EXPECT_EQ(content(kRoot / "config/llm-proxy.example.yaml"), example_yaml());
    EXPECT_EQ(content(kRoot / "docs/configuration.md"), reference_markdown());
}

TEST(Documents, InTheConfigDirectoryLoad)
{
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kRoot / "config")) {
        if (entry.path().extension() != ".yaml") {
            continue;
        }
        ++files;
        const auto loaded = load_file(entry.path().string(), {});
        for (const auto& problem : loaded.problems) {
            ADD_FAILURE() << problem.to_string();
        }
    }
    EXPECT_GE(files, 2);
}

TEST(Documents, QuickstartNeedsNoKey)
{
    const auto path = (kRoot / "config/quickstart.yaml").string();
    const auto without = load_file(path, {}).snapshot;
    const auto with = load_file(path, {{"OPENAI_API_KEY", "k"}}).snapshot;

    ASSERT_TRUE(without && with);
    EXPECT_EQ(without->pipeline.default_backend, "mock");
    EXPECT_FALSE(without->upstream.backends.at(0).disabled);
    EXPECT_TRUE(without->upstream.backends.at(1).disabled);
    EXPECT_FALSE(with->upstream.backends.at(1).disabled);
    EXPECT_TRUE(with->warnings.empty());
}

TEST(Documents, ExampleIsRightWithEverythingCommentedOutTakenIn)
{
    std::istringstream lines(example_yaml());
    std::string text;
    for (std::string line; std::getline(lines, line);) {
        const bool alternative = line.find("api_keys:") != line.npos ||
                                 line.find("_file:") != line.npos || line.starts_with("# # ");
        // A section that is left out as a whole.
        const auto end = line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", 2);
        const bool section =
            line.starts_with("# ") && end != line.npos && end > 2 && line[end] == ':';
        const bool off = line.starts_with("#  ") || section;
        if (off && !alternative) {
            line.erase(0, 2);
        }
        if (const auto ops = line.find("[metrics, health]"); ops != line.npos) {
            line.replace(ops, line.npos, "[metrics, health, admin]");  // as its comment says
        }
        text += line + "\n";
    }
    const auto loaded = load_text(text, "example",
                                  {{"OPENAI_API_KEY", "k"},
                                   {"CI_TOKEN", "t"},
                                   {"MANAGEMENT_TOKEN", "sixteen-characters"},
                                   {"OTLP_TOKEN", "t"},
                                   {"OLD_ENCRYPTION_KEY", std::string(64, '1')},
                                   {"FINANCE_TOKEN", "sixteen-letters-too"},
                                   {"LLM_PROXY_ENCRYPTION_KEY", std::string(64, '0')}});

    for (const auto& problem : loaded.problems) {
        ADD_FAILURE() << problem.to_string();
    }
    ASSERT_TRUE(loaded.snapshot);
    EXPECT_TRUE(loaded.snapshot->warnings.empty());
    EXPECT_EQ(loaded.snapshot->auth.static_tokens.size(), 1U);
    EXPECT_TRUE(loaded.snapshot->server.listeners.at(0).tls);
}

TEST(Documents, SchemaHasEveryField)
{
    const auto schema = nlohmann::json::parse(schema_json());
    for (const auto& field : field_table()) {
        const auto* at = &schema;
        std::istringstream path(field.path);
        for (std::string segment; std::getline(path, segment, '.');) {
            const bool items = segment.ends_with("[]");
            segment.resize(segment.size() - (items ? 2 : 0));
            at = &at->at("properties").at(segment);
            at = items ? &at->at("items") : at;
        }
        EXPECT_NE(at->at("description").get<std::string>().find(field.description),
                  std::string::npos)
            << field.path;
    }
    EXPECT_EQ(schema["additionalProperties"], false);
    EXPECT_EQ(schema["properties"]["backends"]["items"]["required"], nlohmann::json{"name"});
}

TEST(FieldTable, IsConsistent)
{
    std::set<std::string> paths;
    for (const auto& field : field_table()) {
        EXPECT_TRUE(paths.insert(field.path).second) << field.path;
        EXPECT_FALSE(field.description.empty()) << field.path;
        const bool group = field.type == Type::items || field.type == Type::section;
        EXPECT_EQ(group, static_cast<bool>(field.open)) << field.path;
        EXPECT_NE(group, static_cast<bool>(field.set)) << field.path;
        const bool scalar =
            !environment_name(field).empty() || field.path.find('[') != std::string::npos;
        const bool list =
            field.default_text.starts_with("[") || field.default_text.starts_with("{");
        if (scalar && !group && !list && !field.default_text.empty()) {
            EXPECT_FALSE(
                std::holds_alternative<std::monostate>(parse_scalar(field, field.default_text)))
                << field.path;
        }
    }
}

TEST(FieldTable, HasDistinctNamesInTheEnvironment)
{
    std::set<std::string> names;
    for (const auto& field : field_table()) {
        if (const auto name = environment_name(field); !name.empty()) {
            EXPECT_TRUE(names.insert(name).second) << name;
        }
    }
    EXPECT_TRUE(names.contains("LLM_PROXY_SERVER_THREADS"));
    EXPECT_TRUE(names.contains("LLM_PROXY_DEFAULT_BACKEND"));
    EXPECT_FALSE(names.contains("LLM_PROXY_SERVER_TRUSTED_PROXIES"));
}

}  // namespace
}  // namespace llmproxy::config
