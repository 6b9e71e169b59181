#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdexcept>
#include <string>

namespace llmproxy::net::test {

/// A directory that goes away with the object.
class TempDir {
public:
    TempDir()
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "llmproxy-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) {
            throw std::runtime_error("mkdtemp failed");
        }
        path_ = pattern;
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string file(const std::string& name) const
    {
        return (path_ / name).string();
    }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

using KeyPtr = std::shared_ptr<EVP_PKEY>;
using CertPtr = std::shared_ptr<X509>;

/// A certificate with its key, and the files they were written to.
struct Identity {
    KeyPtr key;
    CertPtr cert;
    std::string key_file;
    std::string cert_file;
};

/// Issues certificates below `dir`. A throw-away CA per object.
class TestCa {
public:
    TestCa(const TempDir& dir, const std::string& name) : dir_(dir)
    {
        root_ = make(name, "", 0, 1000, nullptr);
    }

    [[nodiscard]] const std::string& file() const noexcept { return root_.cert_file; }

    /// \param names  as in subjectAltName: "DNS:localhost,IP:127.0.0.1".
    /// \param from,to  days from now.
    [[nodiscard]] Identity issue(const std::string& file, const std::string& names, int from = -1,
                                 int to = 30) const
    {
        return make(file, names, from, to, &root_);
    }

private:
    static void extend(X509* cert, X509* issuer, int nid, const char* value)
    {
        X509V3_CTX context;
        X509V3_set_ctx_nodb(&context);
        X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
        X509_add_ext(cert, extension, -1);
        X509_EXTENSION_free(extension);
    }

    [[nodiscard]] Identity make(const std::string& file, const std::string& names, int from, int to,
                                const Identity* ca) const
    {
        Identity made;
        made.key = KeyPtr(EVP_EC_gen("P-256"), &EVP_PKEY_free);
        made.cert = CertPtr(X509_new(), &X509_free);
        X509* cert = made.cert.get();
        X509_set_version(cert, X509_VERSION_3);
        static long serial = 1;
        ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(file.c_str()), -1, -1, 0);
        X509* issuer = ca == nullptr ? cert : ca->cert.get();
        X509_set_issuer_name(cert, X509_get_subject_name(issuer));
        X509_time_adj_ex(X509_getm_notBefore(cert), from, 0, nullptr);
        X509_time_adj_ex(X509_getm_notAfter(cert), to, 0, nullptr);
        X509_set_pubkey(cert, made.key.get());
        if (ca == nullptr) {
            extend(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
            extend(cert, issuer, NID_key_usage, "critical,keyCertSign");
        } else if (!names.empty()) {
            extend(cert, issuer, NID_subject_alt_name, names.c_str());
        }
        X509_sign(cert, ca == nullptr ? made.key.get() : ca->key.get(), EVP_sha256());
        made.cert_file = dir_.file(file + ".crt");
        made.key_file = dir_.file(file + ".key");
        BIO* out = BIO_new_file(made.cert_file.c_str(), "w");
        PEM_write_bio_X509(out, cert);
        BIO_free(out);
        out = BIO_new_file(made.key_file.c_str(), "w");
        PEM_write_bio_PrivateKey(out, made.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        BIO_free(out);
        return made;
    }

    const TempDir& dir_;
    Identity root_;
};

}  // namespace llmproxy::net::test
