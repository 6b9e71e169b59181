#include "llmproxy/cli/config_commands.hpp"

#include "llmproxy/config/documents.hpp"
#include "support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace llmproxy::cli {
namespace {

class CheckCommand : public testing::Test {
protected:
    int run(const std::string& text)
    {
        const test::TempDir directory;
        const auto path = directory.file("llm-proxy.yaml");
        test::write_file(path, text);
        return run_check(path, out_, err_);
    }

    std::ostringstream out_;
    std::ostringstream err_;
};

TEST_F(CheckCommand, PrintsTheConfigurationInForce)
{
    EXPECT_EQ(run("server: {threads: 3}\nauth: {static_tokens: [{name: a, token: canary}]}"), 0);
    EXPECT_NE(out_.str().find("  threads: 3\n"), std::string::npos);
    EXPECT_NE(err_.str().find("warning: "), std::string::npos);
    EXPECT_EQ((out_.str() + err_.str()).find("canary"), std::string::npos);
}

TEST_F(CheckCommand, FailsWithThePlaceOfEachProblem)
{
    EXPECT_EQ(run("server:\n  threads: x\n  nonsense: 1\n"), 1);
    EXPECT_TRUE(out_.str().empty());
    EXPECT_NE(err_.str().find(":2:12: server.threads: expected an integer"), std::string::npos);
    EXPECT_NE(err_.str().find(":3:3: server.nonsense: expected "), std::string::npos);
}

TEST_F(CheckCommand, FailsForCertificatesThatAreMissing)
{
    EXPECT_EQ(run("backends: [{name: a, base_url: \"https://a\", tls: {ca: /nonexistent}}]\n"), 1);
    EXPECT_NE(err_.str().find(":1:51: backends[0].tls.ca: expected a readable file; got "
                              "/nonexistent"),
              std::string::npos)
        << err_.str();
}

TEST(ConfigCommand, PrintsTheDocuments)
{
    const std::pair<std::string, std::string> documents[]{
        {"reference", config::reference_markdown()},
        {"schema", config::schema_json()},
        {"example", config::example_yaml()}};
    for (const auto& [what, text] : documents) {
        std::ostringstream out;
        EXPECT_EQ(run_config(what, out), 0);
        EXPECT_EQ(out.str(), text);
    }
    std::ostringstream out;
    EXPECT_EQ(run_config("novel", out), 2);
}

}  // namespace
}  // namespace llmproxy::cli
