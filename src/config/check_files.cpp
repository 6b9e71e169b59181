#include "llmproxy/config/load.hpp"

#include "scalar.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <utility>

namespace llmproxy::config {
namespace {

struct Free {
    void operator()(BIO* bio) const noexcept { BIO_free(bio); }
    void operator()(X509* certificate) const noexcept { X509_free(certificate); }
    void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};

template <typename T>
using Owned = std::unique_ptr<T, Free>;

/// Answers OpenSSL's question for a passphrase, which nobody is there to type.
int no_passphrase(char*, int, int, void*)
{
    return 0;
}

Owned<BIO> open_file(const std::string& path)
{
    return Owned<BIO>(BIO_new_file(path.c_str(), "r"));
}

std::vector<Owned<X509>> read_certificates(BIO* bio)
{
    std::vector<Owned<X509>> chain;
    while (auto* certificate = PEM_read_bio_X509(bio, nullptr, no_passphrase, nullptr)) {
        chain.emplace_back(certificate);
    }
    return chain;
}

class Checker {
public:
    explicit Checker(const Snapshot& snapshot) : snapshot_(snapshot) {}

    std::vector<Problem> run()
    {
        for (std::size_t i = 0; i < snapshot_.server.listeners.size(); ++i) {
            const auto& listener = snapshot_.server.listeners[i];
            if (listener.tls) {
                const auto base = "server.listeners[" + std::to_string(i) + "].tls.";
                check_pair(base, listener.tls->certificate, listener.tls->key);
                check_authority(base + "client_ca", listener.tls->client_ca);
            }
        }
        for (std::size_t i = 0; i < snapshot_.upstream.backends.size(); ++i) {
            const auto& tls = snapshot_.upstream.backends[i].tls;
            const auto base = "backends[" + std::to_string(i) + "].tls.";
            check_pair(base, tls.certificate, tls.key);
            check_authority(base + "ca", tls.ca);
        }
        ERR_clear_error();
        return std::move(problems_);
    }

private:
    void add(const std::string& key, std::string expected, bool warning = false)
    {
        const auto found = snapshot_.marks.find(key);
        const auto mark = found == snapshot_.marks.end() ? Mark{} : found->second;
        problems_.push_back(
            {snapshot_.file, mark.line, mark.column, key, std::move(expected), warning});
    }

    void check_pair(const std::string& base, const std::string& certificate_path,
                    const std::string& key_path)
    {
        if (certificate_path.empty() && key_path.empty()) {
            return;
        }
        const auto chain = load_certificates(base + "certificate", certificate_path);
        const auto key = load_key(base + "key", key_path);
        if (chain.empty() || !key) {
            return;
        }
        if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
            add(base + "key", "the private key of the certificate in " +
                                  yaml_text(certificate_path) + "; got that of another one");
        }
    }

    void check_authority(const std::string& key, const std::string& path)
    {
        if (!path.empty()) {
            static_cast<void>(load_certificates(key, path));
        }
    }

    std::vector<Owned<X509>> load_certificates(const std::string& key, const std::string& path)
    {
        const auto bio = open_file(path);
        if (!bio) {
            add(key, "a readable file; got " + yaml_text(path));
            return {};
        }
        auto chain = read_certificates(bio.get());
        if (chain.empty()) {
            add(key, "a PEM file with a certificate; got " + yaml_text(path));
        }
        for (const auto& certificate : chain) {
            check_times(key, *certificate);
        }
        return chain;
    }

    void check_times(const std::string& key, const X509& certificate)
    {
        if (X509_cmp_current_time(X509_get0_notAfter(&certificate)) < 0) {
            add(key, "a certificate that is still valid; got an expired one", true);
        } else if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0) {
            add(key, "a certificate that is valid already; got one for later", true);
        }
    }

    Owned<EVP_PKEY> load_key(const std::string& key, const std::string& path)
    {
        const auto bio = open_file(path);
        if (!bio) {
            add(key, "a readable file; got " + yaml_text(path));
            return nullptr;
        }
        Owned<EVP_PKEY> loaded(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
        if (!loaded) {
            add(key, "a PEM file with an unencrypted private key; got " + yaml_text(path));
        }
        return loaded;
    }

    const Snapshot& snapshot_;
    std::vector<Problem> problems_;
};

}  // namespace

std::vector<Problem> check_files(const Snapshot& snapshot)
{
    return Checker(snapshot).run();
}

}  // namespace llmproxy::config
