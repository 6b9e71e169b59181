#include "llmproxy/cli/certs.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdexcept>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace llmproxy::cli {
namespace {

namespace fs = std::filesystem;

template <auto Function>
struct Free {
    template <typename T>
    void operator()(T* object) const noexcept
    {
        Function(object);
    }
};
using BioPtr = std::unique_ptr<BIO, Free<&BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, Free<&BN_free>>;
using CertPtr = std::unique_ptr<X509, Free<&X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Free<&X509_EXTENSION_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;

constexpr long kBackdate = 60 * 60;  // seconds; clients' clocks may be behind
constexpr int kCaDays = 3650;
constexpr int kServerDays = 825;
constexpr const char* kNames =
    "DNS:llm-as-judge-proxy,DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1";

/// Start-up code of a command: exceptions are caught in run_certs_init.
void check(bool done, const char* what)
{
    if (!done) {
        const char* reason = ERR_reason_error_string(ERR_get_error());
        throw std::runtime_error(std::string(what) + ": " +
                                 (reason == nullptr ? "OpenSSL failed" : reason));
    }
}

KeyPtr make_key()
{
    KeyPtr key(EVP_EC_gen("P-256"));
    check(key != nullptr, "cannot make a key");
    return key;
}

void set_random_serial(X509* cert)
{
    // 159 bits: positive, and within the 20 octets of RFC 5280, section 4.1.2.2.
    BignumPtr number(BN_new());
    check(number && BN_rand(number.get(), 159, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(cert)) != nullptr,
          "cannot make a serial number");
}

void add_extension(X509* cert, X509* issuer, int nid, const char* value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    check(extension && X509_add_ext(cert, extension.get(), -1) == 1, "cannot add an extension");
}

CertPtr make_certificate(const char* name, int days, EVP_PKEY* key, X509* issuer)
{
    CertPtr cert(X509_new());
    check(cert != nullptr, "cannot make a certificate");
    X509* raw = cert.get();
    check(X509_set_version(raw, X509_VERSION_3) == 1, "cannot set the version");
    set_random_serial(raw);
    X509_NAME* subject = X509_get_subject_name(raw);
    check(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(name), -1, -1,
                                     0) == 1 &&
              X509_set_issuer_name(raw, issuer == nullptr ? subject
                                                          : X509_get_subject_name(issuer)) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(raw), -kBackdate) != nullptr &&
              X509_time_adj_ex(X509_getm_notAfter(raw), days, -kBackdate, nullptr) != nullptr &&
              X509_set_pubkey(raw, key) == 1,
          "cannot fill a certificate");
    return cert;
}

void sign(X509* cert, EVP_PKEY* key)
{
    check(X509_sign(cert, key, EVP_sha256()) > 0, "cannot sign a certificate");
}

CertPtr make_ca(EVP_PKEY* key)
{
    auto cert = make_certificate("llm-proxy development CA", kCaDays, key, nullptr);
    add_extension(cert.get(), cert.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(cert.get(), cert.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(cert.get(), cert.get(), NID_subject_key_identifier, "hash");
    sign(cert.get(), key);
    return cert;
}

CertPtr make_server(EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key)
{
    auto cert = make_certificate("llm-as-judge-proxy", kServerDays, key, ca);
    add_extension(cert.get(), ca, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(cert.get(), ca, NID_key_usage, "critical,digitalSignature");
    add_extension(cert.get(), ca, NID_ext_key_usage, "serverAuth");
    add_extension(cert.get(), ca, NID_subject_alt_name, kNames);
    add_extension(cert.get(), ca, NID_subject_key_identifier, "hash");
    add_extension(cert.get(), ca, NID_authority_key_identifier, "keyid:always");
    sign(cert.get(), ca_key);
    return cert;
}

[[noreturn]] void throw_errno(const std::string& what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

/// A new file under a name of its own until `place` gives it its final one.
class NewFile {
public:
    NewFile(fs::path final_path, mode_t mode)
        : final_(std::move(final_path)), path_(final_.string() + suffix())
    {
        fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd_ < 0) {
            throw_errno("cannot create '" + path_ + "'");
        }
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile()
    {
        if (fd_ >= 0) {
            ::close(fd_);
        }
        ::unlink(path_.c_str());
        if (placed_ && !kept_) {
            ::unlink(final_.c_str());
        }
    }

    void write(BIO* text)
    {
        char* data = nullptr;
        auto left = BIO_get_mem_data(text, &data);
        while (left > 0) {
            const auto count = ::write(fd_, data, static_cast<std::size_t>(left));
            if (count < 0 && errno != EINTR) {
                throw_errno("cannot write '" + path_ + "'");
            }
            if (count > 0) {
                data += count;
                left -= count;
            }
        }
        if (::fsync(fd_) != 0) {
            throw_errno("cannot write '" + path_ + "'");
        }
    }

    /// Fails if the final name exists; a rename would overwrite it.
    void place()
    {
        if (::link(path_.c_str(), final_.c_str()) != 0) {
            throw_errno("cannot create '" + final_.string() + "'");
        }
        placed_ = true;
    }
    void keep() noexcept { kept_ = true; }

private:
    static std::string suffix()
    {
        std::array<unsigned char, 8> random{};
        check(RAND_bytes(random.data(), random.size()) == 1, "no randomness");
        constexpr std::string_view kDigits = "0123456789abcdef";
        std::string text = ".";
        for (const auto byte : random) {
            text += kDigits[byte >> 4U];
            text += kDigits[byte & 0x0fU];
        }
        return text + ".tmp";
    }

    fs::path final_;
    std::string path_;
    int fd_ = -1;
    bool placed_ = false;
    bool kept_ = false;
};

BioPtr secure_buffer()
{
    BioPtr text(BIO_new(BIO_s_secmem()));
    check(text != nullptr, "out of memory");
    return text;
}

std::unique_ptr<NewFile> write_key(const fs::path& path, EVP_PKEY* key)
{
    auto text = secure_buffer();
    check(PEM_write_bio_PrivateKey(text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
          "cannot encode a key");
    auto file = std::make_unique<NewFile>(path, 0600);
    file->write(text.get());
    return file;
}

std::unique_ptr<NewFile> write_certificate(const fs::path& path, X509* cert)
{
    auto text = secure_buffer();
    check(PEM_write_bio_X509(text.get(), cert) == 1, "cannot encode a certificate");
    auto file = std::make_unique<NewFile>(path, 0644);
    file->write(text.get());
    return file;
}

void write_all(const fs::path& dir)
{
    const auto ca_key = make_key();
    const auto ca = make_ca(ca_key.get());
    const auto server_key = make_key();
    const auto server = make_server(server_key.get(), ca.get(), ca_key.get());
    std::vector<std::unique_ptr<NewFile>> files;
    files.push_back(write_key(dir / "ca.key", ca_key.get()));
    files.push_back(write_key(dir / "server.key", server_key.get()));
    files.push_back(write_certificate(dir / "ca.crt", ca.get()));
    files.push_back(write_certificate(dir / "server.crt", server.get()));
    for (const auto& file : files) {
        file->place();
    }
    for (const auto& file : files) {
        file->keep();
    }
}

}  // namespace

int run_certs_init(const std::string& dir, std::ostream& out, std::ostream& err)
{
    try {
        const fs::path path(dir);
        fs::create_directories(path);
        for (const char* name : {"ca.key", "server.key", "ca.crt", "server.crt"}) {
            if (fs::exists(fs::symlink_status(path / name))) {
                err << "error: '" << (path / name).string()
                    << "' exists and is not overwritten; to make new certificates, move ca.crt, "
                       "ca.key, server.crt and server.key away or choose another directory\n";
                return 1;
            }
        }
        write_all(path);
        out << "wrote ca.crt, ca.key, server.crt and server.key to '" << dir
            << "'; clients trust the proxy with, for example, curl --cacert "
            << (path / "ca.crt").string() << "\n";
        return 0;
    } catch (const std::exception& error) {
        err << "error: " << error.what() << "\n";
        return 1;
    }
}

}  // namespace llmproxy::cli
