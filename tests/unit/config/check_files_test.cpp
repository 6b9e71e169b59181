#include "llmproxy/config/load.hpp"

#include "support/test_ca.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::config {
namespace {

class CheckFiles : public testing::Test {
protected:
    CheckFiles() { test::write_file(junk, "no PEM\n"); }

    [[nodiscard]] static std::string text(const std::string& certificate, const std::string& key,
                                          const std::string& client_ca)
    {
        return "server:\n"
               "  listeners:\n"
               "    - name: main\n"
               "      address: 127.0.0.1:1\n"
               "      serve: [gateway]\n"
               "      tls:\n"
               "        certificate: " +
               certificate + "\n        key: " + key + "\n        client_ca: " + client_ca + "\n";
    }

    [[nodiscard]] static std::vector<Problem>
    check(const std::string& certificate, const std::string& key, const std::string& client_ca)
    {
        const auto loaded = load_text(text(certificate, key, client_ca), "f", {});
        EXPECT_TRUE(loaded.snapshot);
        return loaded.snapshot ? check_files(*loaded.snapshot) : std::vector<Problem>{};
    }

    [[nodiscard]] Loaded load(const std::string& certificate, const std::string& key) const
    {
        test::write_file(directory.file("proxy.yaml"), text(certificate, key, ca.certificate()));
        return load_with_files(directory.file("proxy.yaml"), {});
    }

    test::TempDir directory;
    std::string junk = directory.file("junk");
    test::TestCa ca;
    test::TestCa::Leaf leaf = ca.issue();
};

TEST_F(CheckFiles, AcceptsAPair)
{
    EXPECT_TRUE(check(leaf.certificate, leaf.key, ca.certificate()).empty());
}

TEST_F(CheckFiles, RefusesTheKeyOfAnotherCertificate)
{
    const auto problems = check(leaf.certificate, ca.issue().key, ca.certificate());
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_FALSE(problems[0].warning);
    EXPECT_TRUE(problems[0].to_string().starts_with(
        "f:8:9: server.listeners[0].tls.key: expected the private key of the certificate in "))
        << problems[0].to_string();
}

TEST_F(CheckFiles, RefusesWhatIsMissingOrNoPem)
{
    const auto problems = check(directory.file("none.crt"), junk, junk);
    ASSERT_EQ(problems.size(), 3U);
    EXPECT_TRUE(problems[0].to_string().starts_with(
        "f:7:9: server.listeners[0].tls.certificate: expected a readable file; got "));
    EXPECT_TRUE(problems[1].to_string().starts_with(
        "f:8:9: server.listeners[0].tls.key: expected a PEM file with an unencrypted private key"));
    EXPECT_TRUE(problems[2].to_string().starts_with(
        "f:9:9: server.listeners[0].tls.client_ca: expected a PEM file with a certificate"));
}

TEST_F(CheckFiles, OnlyWarnsOfAnExpiredCertificate)
{
    const auto old = ca.issue("DNS:localhost", -2, -1);
    const auto problems = check(old.certificate, old.key, ca.certificate());
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_TRUE(problems[0].warning);
    EXPECT_EQ(problems[0].to_string(),
              "f:7:9: warning: server.listeners[0].tls.certificate: expected "
              "a certificate that is still valid; got an expired one");
}

TEST_F(CheckFiles, StopALoadThatAsksForThem)
{
    const auto loaded = load(leaf.certificate, ca.issue().key);
    EXPECT_EQ(loaded.snapshot, nullptr);
    ASSERT_EQ(loaded.problems.size(), 1U);
    EXPECT_EQ(loaded.problems[0].key, "server.listeners[0].tls.key");
    EXPECT_EQ(loaded.problems[0].line, 8);
}

TEST_F(CheckFiles, AddTheirWarningsToALoad)
{
    const auto expired = ca.issue("DNS:localhost", -2, -1);
    const auto right = load(leaf.certificate, leaf.key);
    const auto old = load(expired.certificate, expired.key);
    ASSERT_TRUE(right.snapshot && old.snapshot);
    EXPECT_TRUE(old.problems.empty());
    ASSERT_EQ(old.snapshot->warnings.size(), right.snapshot->warnings.size() + 1);
    EXPECT_NE(old.snapshot->warnings.back().find(":7:9: warning: server.listeners[0].tls"),
              std::string::npos);
}

}  // namespace
}  // namespace llmproxy::config
