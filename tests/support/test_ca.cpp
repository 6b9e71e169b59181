#include "support/test_ca.hpp"

#include <cstdio>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdexcept>

namespace llmproxy::test {

namespace {

void require(bool ok, const char* what)
{
    if (!ok) {
        throw std::runtime_error(std::string("test certificates: ") + what);
    }
}

void add_extension(X509* certificate, X509* issuer, int nid, const char* value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    require(extension != nullptr, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

X509* begin_certificate(EVP_PKEY* key, long serial, const std::string& name, int from, int to)
{
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_time_adj_ex(X509_getm_notBefore(certificate), from, 0, nullptr);
    X509_time_adj_ex(X509_getm_notAfter(certificate), to, 0, nullptr);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    return certificate;
}

void save(const std::string& path, X509* certificate)
{
    FILE* file = std::fopen(path.c_str(), "w");
    require(file != nullptr && PEM_write_X509(file, certificate) == 1, "write certificate");
    std::fclose(file);
}

void save(const std::string& path, EVP_PKEY* key)
{
    FILE* file = std::fopen(path.c_str(), "w");
    require(file != nullptr &&
                PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
            "write key");
    std::fclose(file);
}

std::shared_ptr<SSL_CTX> context(const SSL_METHOD* method)
{
    return {SSL_CTX_new(method), SSL_CTX_free};
}

void show(SSL_CTX* context, const TestCa::Leaf& leaf)
{
    require(SSL_CTX_use_certificate_chain_file(context, leaf.certificate.c_str()) == 1 &&
                SSL_CTX_use_PrivateKey_file(context, leaf.key.c_str(), SSL_FILETYPE_PEM) == 1,
            "load leaf");
}

}  // namespace

TestCa::TestCa(const std::string& name) : key_(EVP_EC_gen("P-256"))
{
    certificate_ = begin_certificate(key_, serial_, name, -30, 30);
    X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
    add_extension(certificate_, certificate_, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(certificate_, certificate_, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(certificate_, certificate_, NID_subject_key_identifier, "hash");
    require(X509_sign(certificate_, key_, EVP_sha256()) > 0, "sign ca");
    save(certificate(), certificate_);
}

TestCa::~TestCa()
{
    X509_free(certificate_);
    EVP_PKEY_free(key_);
}

TestCa::Leaf TestCa::issue(const std::string& names, int from, int to)
{
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  EVP_PKEY_free);
    const auto number = ++serial_;
    const std::unique_ptr<X509, decltype(&X509_free)> leaf(
        begin_certificate(key.get(), number, "leaf " + std::to_string(number), from, to),
        X509_free);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(certificate_));
    add_extension(leaf.get(), certificate_, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(leaf.get(), certificate_, NID_subject_alt_name, names.c_str());
    add_extension(leaf.get(), certificate_, NID_ext_key_usage, "serverAuth,clientAuth");
    require(X509_sign(leaf.get(), key_, EVP_sha256()) > 0, "sign leaf");
    const auto stem = dir_.file("leaf" + std::to_string(number));
    save(stem + ".crt", leaf.get());
    save(stem + ".key", key.get());
    return {stem + ".crt", stem + ".key"};
}

std::shared_ptr<SSL_CTX> TestCa::server(const Leaf& leaf, const std::string& client_ca)
{
    auto made = context(TLS_server_method());
    show(made.get(), leaf);
    if (!client_ca.empty()) {
        require(SSL_CTX_load_verify_locations(made.get(), client_ca.c_str(), nullptr) == 1,
                "load client ca");
        SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    return made;
}

std::shared_ptr<SSL_CTX> TestCa::client(const Leaf* own) const
{
    auto made = context(TLS_client_method());
    require(SSL_CTX_load_verify_locations(made.get(), certificate().c_str(), nullptr) == 1,
            "load ca");
    SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER, nullptr);
    if (own != nullptr) {
        show(made.get(), *own);
    }
    return made;
}

}  // namespace llmproxy::test
