#pragma once

#include <memory>
#include <openssl/ssl.h>
#include <string>
#include <vector>

namespace llmproxy::test {

/// A directory below the system's temporary one, removed with all in it.
class TempDir {
public:
    TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// Writes a file, replacing what was there.
void write_file(const std::string& path, const std::string& text);
[[nodiscard]] std::string read_file(const std::string& path);

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
    Leaf issue(const std::string& names = "DNS:localhost,IP:127.0.0.1");

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
