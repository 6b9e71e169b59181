#include "llmproxy/config/load.hpp"

#include <gtest/gtest.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace llmproxy::config {
namespace {

/// A directory with throw-away keys and self-signed certificates.
class CheckFiles : public testing::Test {
protected:
    void SetUp() override
    {
        directory_ = testing::TempDir() + "llmproxy-check-files-" +
                     testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::create_directories(directory_);
        make_pair("a", -3600, 3600);
        make_pair("b", -3600, 3600);
        make_pair("old", -7200, -3600);
        std::ofstream(path("junk")) << "no PEM\n";
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    [[nodiscard]] std::string path(const std::string& name) const
    {
        return directory_ + "/" + name;
    }

    void make_pair(const std::string& name, long from, long until) const
    {
        const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                      EVP_PKEY_free);
        const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
        X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from);
        X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until);
        X509_set_pubkey(certificate.get(), key.get());
        X509_sign(certificate.get(), key.get(), EVP_sha256());
        using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
        const File crt(std::fopen(path(name + ".crt").c_str(), "w"), std::fclose);
        PEM_write_X509(crt.get(), certificate.get());
        const File pem(std::fopen(path(name + ".key").c_str(), "w"), std::fclose);
        PEM_write_PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    }

    [[nodiscard]] std::string text(const std::string& certificate, const std::string& key,
                                   const std::string& ca = "a.crt") const
    {
        return "server:\n"
               "  listeners:\n"
               "    - name: main\n"
               "      address: 127.0.0.1:1\n"
               "      serve: [gateway]\n"
               "      tls:\n"
               "        certificate: " +
               path(certificate) + "\n        key: " + path(key) +
               "\n        client_ca: " + path(ca) + "\n";
    }

    [[nodiscard]] std::vector<Problem> check(const std::string& certificate, const std::string& key,
                                             const std::string& ca = "a.crt") const
    {
        const auto loaded = load_text(text(certificate, key, ca), "f", {});
        EXPECT_TRUE(loaded.snapshot);
        return loaded.snapshot ? check_files(*loaded.snapshot) : std::vector<Problem>{};
    }

    [[nodiscard]] Loaded load(const std::string& certificate, const std::string& key) const
    {
        std::ofstream(path("proxy.yaml")) << text(certificate, key);
        return load_with_files(path("proxy.yaml"), {});
    }

    std::string directory_;
};

TEST_F(CheckFiles, AcceptsAPair)
{
    EXPECT_TRUE(check("a.crt", "a.key").empty());
}

TEST_F(CheckFiles, RefusesTheKeyOfAnotherCertificate)
{
    const auto problems = check("a.crt", "b.key");
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_FALSE(problems[0].warning);
    EXPECT_TRUE(problems[0].to_string().starts_with(
        "f:8:9: server.listeners[0].tls.key: expected the private key of the certificate in "))
        << problems[0].to_string();
}

TEST_F(CheckFiles, RefusesWhatIsMissingOrNoPem)
{
    const auto problems = check("none.crt", "junk", "junk");
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
    const auto problems = check("old.crt", "old.key");
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_TRUE(problems[0].warning);
    EXPECT_EQ(problems[0].to_string(),
              "f:7:9: warning: server.listeners[0].tls.certificate: expected "
              "a certificate that is still valid; got an expired one");
}

TEST_F(CheckFiles, StopALoadThatAsksForThem)
{
    const auto loaded = load("a.crt", "b.key");
    EXPECT_EQ(loaded.snapshot, nullptr);
    ASSERT_EQ(loaded.problems.size(), 1U);
    EXPECT_EQ(loaded.problems[0].key, "server.listeners[0].tls.key");
    EXPECT_EQ(loaded.problems[0].line, 8);
}

TEST_F(CheckFiles, AddTheirWarningsToALoad)
{
    const auto right = load("a.crt", "a.key");
    const auto old = load("old.crt", "old.key");
    ASSERT_TRUE(right.snapshot && old.snapshot);
    EXPECT_TRUE(old.problems.empty());
    ASSERT_EQ(old.snapshot->warnings.size(), right.snapshot->warnings.size() + 1);
    EXPECT_NE(old.snapshot->warnings.back().find(":7:9: warning: server.listeners[0].tls"),
              std::string::npos);
}

}  // namespace
}  // namespace llmproxy::config
