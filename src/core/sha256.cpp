#include "llmproxy/core/sha256.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <memory>

namespace llmproxy::core {
namespace {

/// A context that is ready for the next digest.
class Hasher {
public:
    Hasher() : context_(EVP_MD_CTX_new())
    {
        ready_ = context_ && EVP_DigestInit_ex2(context_.get(), EVP_sha256(), nullptr) == 1;
    }

    bool run(std::string_view bytes, unsigned char* digest) const noexcept
    {
        return ready_ && EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) == 1 &&
               EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1 &&
               EVP_DigestFinal_ex(context_.get(), digest, nullptr) == 1;
    }

private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context_;
    bool ready_ = false;
};

}  // namespace

Sha256 sha256(std::string_view bytes) noexcept
{
    // OpenSSL's one-call form looks the algorithm up and makes a context each time, four times the cost of the digest.
    thread_local const Hasher hasher;
    Sha256 digest{};
    if (!hasher.run(bytes, digest.data())) {
        SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
    }
    return digest;
}

}  // namespace llmproxy::core
