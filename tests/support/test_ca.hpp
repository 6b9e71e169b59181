#pragma once

#include "support/temp_dir.hpp"

#include <memory>
#include <openssl/ssl.h>
#include <string>

namespace llmproxy::test {

/// A CA made for one test, and leaves signed by it, as PEM files in a directory of its own.
class TestCa {
public:
    struct Leaf {
        std::string certificate;  ///< path
        std::string key;          ///< path
    };

    explicit TestCa(const std::string& name = "test ca");
    TestCa(const TestCa&) = delete;
    TestCa& operator=(const TestCa&) = delete;
    ~TestCa();

    /// Path of the CA's certificate.
    [[nodiscard]] std::string certificate() const { return dir_.file("ca.crt"); }
    /// A leaf for the names; `IP:127.0.0.1` and `DNS:localhost` forms of OpenSSL.
    /// \param from,to  days from now between which it is valid.
    Leaf issue(const std::string& names = "DNS:localhost,IP:127.0.0.1", int from = -1, int to = 2);

    /// A context that shows `leaf`; asks for client certificates of `client_ca` if that is a path.
    [[nodiscard]] static std::shared_ptr<SSL_CTX> server(const Leaf& leaf,
                                                         const std::string& client_ca = {});
    /// A context that trusts this CA only, and shows `own` if given.
    [[nodiscard]] std::shared_ptr<SSL_CTX> client(const Leaf* own = nullptr) const;

private:
    TempDir dir_;
    EVP_PKEY* key_ = nullptr;
    X509* certificate_ = nullptr;
    long serial_ = 1;
};

}  // namespace llmproxy::test
