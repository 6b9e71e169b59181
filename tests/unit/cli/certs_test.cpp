#include "llmproxy/cli/certs.hpp"

#include "support/temp_dir.hpp"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

namespace llmproxy::cli {
namespace {

namespace fs = std::filesystem;
using CertPtr = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

class CertsInit : public testing::Test {
protected:
    int run() { return run_certs_init(dir.string(), out, err); }

    [[nodiscard]] CertPtr certificate(const char* name) const
    {
        BIO* in = BIO_new_file((dir / name).c_str(), "r");
        CertPtr cert(PEM_read_bio_X509(in, nullptr, nullptr, nullptr), &X509_free);
        BIO_free(in);
        return cert;
    }
    [[nodiscard]] KeyPtr key(const char* name) const
    {
        BIO* in = BIO_new_file((dir / name).c_str(), "r");
        KeyPtr read(PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr), &EVP_PKEY_free);
        BIO_free(in);
        return read;
    }
    [[nodiscard]] std::set<std::string> files() const
    {
        std::set<std::string> names;
        for (const auto& entry : fs::directory_iterator(dir)) {
            names.insert(entry.path().filename().string());
        }
        return names;
    }
    [[nodiscard]] mode_t mode(const char* name) const
    {
        struct stat status {};
        ::stat((dir / name).c_str(), &status);
        return status.st_mode & 07777U;
    }

    test::TempDir temporary;
    fs::path root = temporary.path();
    fs::path dir = root / "deep" / "certs";
    std::ostringstream out;
    std::ostringstream err;
};

/// X509_V_OK or the reason why `leaf` is no TLS server certificate of `ca` for `host` or `address`.
int verify(X509* leaf, X509* ca, const char* host, const char* address)
{
    X509_STORE* store = X509_STORE_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, store, leaf, nullptr);
    X509_STORE_CTX_set_default(context, "ssl_server");
    X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    if (host != nullptr) {
        X509_VERIFY_PARAM_set1_host(param, host, 0);
    }
    if (address != nullptr) {
        X509_VERIFY_PARAM_set1_ip_asc(param, address);
    }
    X509_verify_cert(context);
    const int result = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return result;
}

TEST_F(CertsInit, WritesFourFilesWithPrivateKeys)
{
    ASSERT_EQ(run(), 0) << err.str();
    EXPECT_EQ(files(), (std::set<std::string>{"ca.crt", "ca.key", "server.crt", "server.key"}));
    EXPECT_EQ(mode("ca.key"), 0600U);
    EXPECT_EQ(mode("server.key"), 0600U);
    EXPECT_NE(out.str().find(dir.string()), std::string::npos);
    EXPECT_EQ(err.str(), "");
}

TEST_F(CertsInit, ServerCertificateVerifiesForEachName)
{
    ASSERT_EQ(run(), 0) << err.str();
    const auto ca = certificate("ca.crt");
    const auto leaf = certificate("server.crt");
    ASSERT_TRUE(ca && leaf);
    EXPECT_EQ(verify(leaf.get(), ca.get(), "llm-as-judge-proxy", nullptr), X509_V_OK);
    EXPECT_EQ(verify(leaf.get(), ca.get(), "localhost", nullptr), X509_V_OK);
    EXPECT_EQ(verify(leaf.get(), ca.get(), nullptr, "127.0.0.1"), X509_V_OK);
    EXPECT_EQ(verify(leaf.get(), ca.get(), nullptr, "::1"), X509_V_OK);
    EXPECT_EQ(verify(leaf.get(), ca.get(), "example.com", nullptr), X509_V_ERR_HOSTNAME_MISMATCH);
}

TEST_F(CertsInit, KeysBelongToTheirCertificates)
{
    ASSERT_EQ(run(), 0) << err.str();
    EXPECT_EQ(X509_check_private_key(certificate("ca.crt").get(), key("ca.key").get()), 1);
    EXPECT_EQ(X509_check_private_key(certificate("server.crt").get(), key("server.key").get()), 1);
}

TEST_F(CertsInit, LeafCannotIssueAndCaLivesLonger)
{
    ASSERT_EQ(run(), 0) << err.str();
    const auto ca = certificate("ca.crt");
    const auto leaf = certificate("server.crt");
    EXPECT_EQ(X509_check_ca(leaf.get()), 0);
    EXPECT_EQ(X509_check_ca(ca.get()), 1);
    int days = 0;
    int seconds = 0;
    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(leaf.get()),
                   X509_get0_notAfter(leaf.get()));
    EXPECT_EQ(days, 825);
    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(ca.get()), X509_get0_notAfter(ca.get()));
    EXPECT_EQ(days, 3650);
    EXPECT_NE(
        ASN1_INTEGER_cmp(X509_get0_serialNumber(ca.get()), X509_get0_serialNumber(leaf.get())), 0);
}

TEST_F(CertsInit, NeverOverwrites)
{
    ASSERT_EQ(run(), 0) << err.str();
    const auto before = certificate("ca.crt");
    EXPECT_EQ(run(), 1);
    EXPECT_NE(err.str().find("ca.key"), std::string::npos);
    EXPECT_NE(err.str().find("choose another directory"), std::string::npos);
    EXPECT_EQ(X509_cmp(before.get(), certificate("ca.crt").get()), 0);
}

TEST_F(CertsInit, LeavesNothingHalfDone)
{
    fs::create_directories(dir);
    std::ofstream(dir / "server.key") << "kept";
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(files(), (std::set<std::string>{"server.key"}));
}

TEST_F(CertsInit, DoesNotFollowADanglingLink)
{
    fs::create_directories(dir);
    fs::create_symlink(root / "elsewhere", dir / "ca.key");
    EXPECT_EQ(run(), 1);
    EXPECT_FALSE(fs::exists(root / "elsewhere"));
}

TEST_F(CertsInit, SaysWhyADirectoryCannotBeMade)
{
    std::ofstream(root / "deep") << "a file";
    EXPECT_EQ(run(), 1);
    EXPECT_NE(err.str().find("deep"), std::string::npos);
}

}  // namespace
}  // namespace llmproxy::cli
