#include "llmproxy/auth/authenticator.hpp"

#include "header_value.hpp"
#include "llmproxy/core/text.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cstring>
#include <memory>

namespace llmproxy::auth {
namespace {

constexpr std::string_view kAnonymous = "anonymous";
constexpr std::string_view kMissing = "You didn't provide an API key. You need to provide your API "
                                      "key in an Authorization header using "
                                      "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
constexpr std::string_view kWrong = "Incorrect API key provided.";

/// A context that is ready for the next SHA-256.
class Hasher {
public:
    Hasher() : context_(EVP_MD_CTX_new())
    {
        ready_ = context_ && EVP_DigestInit_ex2(context_.get(), EVP_sha256(), nullptr) == 1;
    }

    bool run(std::string_view text, unsigned char* digest) const noexcept
    {
        return ready_ && EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) == 1 &&
               EVP_DigestUpdate(context_.get(), text.data(), text.size()) == 1 &&
               EVP_DigestFinal_ex(context_.get(), digest, nullptr) == 1;
    }

private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context_;
    bool ready_ = false;
};

core::Failure refusal(std::string_view message, std::string detail)
{
    core::Failure failure(core::Errc::invalid_api_key, core::Origin::client, std::move(detail));
    failure.say(std::string(message));
    return failure;
}

}  // namespace

std::size_t Authenticator::DigestHash::operator()(const Digest& digest) const noexcept
{
    std::size_t head = 0;
    std::memcpy(&head, digest.data(), sizeof head);
    return head;
}

bool Authenticator::DigestEqual::operator()(const Digest& a, const Digest& b) const noexcept
{
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Authenticator::Digest Authenticator::digest_of(std::string_view token) noexcept
{
    // OpenSSL's one-call form looks the algorithm up and makes a context each time, four times the cost of the digest.
    thread_local const Hasher hasher;
    Digest digest{};
    if (!hasher.run(token, digest.data())) {
        SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
    }
    return digest;
}

Authenticator::Authenticator(const Settings& settings) : mode_(settings.mode)
{
    for (const auto& entry : settings.static_tokens) {
        if (!entry.token.empty()) {
            names_.emplace(digest_of(entry.token.reveal()), entry.name);
        }
    }
}

const std::string* Authenticator::name_of(std::string_view token) const noexcept
{
    if (token.empty() || names_.empty()) {
        return nullptr;
    }
    const auto found = names_.find(digest_of(token));
    return found == names_.end() ? nullptr : &found->second;
}

core::Result<Principal> Authenticator::authenticate(const Credentials& credentials) const
{
    if (mode_ == Mode::open) {
        return Principal{std::string(kAnonymous), true};
    }
    bool shown = false;
    const std::string* name = nullptr;
    const auto consider = [&](std::string_view token) {
        shown = shown || !token.empty();
        name = name != nullptr ? name : name_of(token);
    };

    consider(after_scheme(credentials.authorization, "bearer").value_or(""));
    consider(core::trim(credentials.x_api_key));
    consider(core::trim(credentials.api_key));
    consider(after_scheme(credentials.proxy_authorization, "bearer").value_or(""));
    if (const auto basic = after_scheme(credentials.proxy_authorization, "basic")) {
        shown = true;
        if (const auto decoded = decode_basic(*basic)) {
            consider(decoded->password);
            consider(decoded->user);
        }
    }
    if (name != nullptr) {
        return Principal{*name, false};
    }
    return shown ? refusal(kWrong, "unknown token") : refusal(kMissing, "no token");
}

bool Authenticator::is_own_token(std::string_view token) const
{
    return name_of(token) != nullptr;
}

bool Authenticator::carries_own_token(std::string_view authorization) const
{
    if (const auto token = after_scheme(authorization, "bearer")) {
        return is_own_token(*token);
    }
    const auto basic = after_scheme(authorization, "basic");
    const auto decoded = basic ? decode_basic(*basic) : std::nullopt;
    return decoded && (is_own_token(decoded->password) || is_own_token(decoded->user));
}

}  // namespace llmproxy::auth
