#include "llmproxy/auth/authenticator.hpp"

#include "header_value.hpp"
#include "llmproxy/core/text.hpp"

#include <openssl/crypto.h>

#include <cstring>
#include <memory>

namespace llmproxy::auth {
namespace {

constexpr std::string_view kAnonymous = "anonymous";
constexpr std::string_view kMissing = "You didn't provide an API key. You need to provide your API "
                                      "key in an Authorization header using "
                                      "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
constexpr std::string_view kWrong = "Incorrect API key provided.";
constexpr std::string_view kMissingProxy =
    "This proxy needs a token: send it as Proxy-Authorization, Bearer or Basic (as user or as "
    "password, e.g. https://TOKEN@proxy:8888).";
constexpr std::string_view kWrongProxy = "Incorrect proxy token.";

core::Failure refusal(core::Errc errc, std::string_view message, std::string detail)
{
    core::Failure failure(errc, core::Origin::client, std::move(detail));
    failure.say(std::string(message));
    return failure;
}

/// A pattern that cannot be read, which a validated configuration does not have, covers nothing.
std::shared_ptr<const std::vector<core::HostPattern>> patterns_of(const StaticToken& token)
{
    if (token.hosts.empty()) {
        return nullptr;
    }
    auto patterns = std::make_shared<std::vector<core::HostPattern>>();
    for (const auto& text : token.hosts) {
        if (auto pattern = core::HostPattern::parse(text)) {
            patterns->push_back(std::move(*pattern));
        }
    }
    return patterns;
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

Authenticator::Authenticator(const Settings& settings) : mode_(settings.mode)
{
    for (const auto& entry : settings.static_tokens) {
        if (!entry.token.empty()) {
            holders_.emplace(core::sha256(entry.token.reveal()),
                             Principal{entry.name, false, patterns_of(entry)});
        }
    }
}

const Principal* Authenticator::holder_of(std::string_view token) const noexcept
{
    if (token.empty() || holders_.empty()) {
        return nullptr;
    }
    const auto found = holders_.find(core::sha256(token));
    return found == holders_.end() ? nullptr : &found->second;
}

/// Goes through the credentials of one request; the first that is one of ours decides.
class Authenticator::Search {
public:
    explicit Search(const Authenticator& among) : among_(among) {}

    void consider(std::string_view token)
    {
        shown_ = shown_ || !token.empty();
        holder_ = holder_ != nullptr ? holder_ : among_.holder_of(token);
    }
    void consider_proxy(std::string_view value)
    {
        consider(bearer_token(value).value_or(""));
        if (const auto basic = after_scheme(value, "basic")) {
            shown_ = true;
            if (const auto decoded = decode_basic(*basic)) {
                consider(decoded->password);
                consider(decoded->user);
            }
        }
    }
    [[nodiscard]] const Principal* holder() const noexcept { return holder_; }
    [[nodiscard]] bool shown() const noexcept { return shown_; }

private:
    const Authenticator& among_;
    const Principal* holder_ = nullptr;
    bool shown_ = false;
};

core::Result<Principal> Authenticator::authenticate(const Credentials& credentials) const
{
    if (mode_ == Mode::open) {
        return Principal{std::string(kAnonymous), true, nullptr};
    }
    Search search(*this);
    search.consider(bearer_token(credentials.authorization).value_or(""));
    search.consider(core::trim(credentials.x_api_key));
    search.consider(core::trim(credentials.api_key));
    search.consider_proxy(credentials.proxy_authorization);
    if (search.holder() != nullptr) {
        return *search.holder();
    }
    return search.shown() ? refusal(core::Errc::invalid_api_key, kWrong, "unknown token")
                          : refusal(core::Errc::invalid_api_key, kMissing, "no token");
}

core::Result<Principal>
Authenticator::authenticate_proxy(std::string_view proxy_authorization) const
{
    if (mode_ == Mode::open) {
        return Principal{std::string(kAnonymous), true, nullptr};
    }
    Search search(*this);
    search.consider_proxy(proxy_authorization);
    if (search.holder() != nullptr) {
        return *search.holder();
    }
    return search.shown() ? refusal(core::Errc::proxy_auth_required, kWrongProxy, "unknown token")
                          : refusal(core::Errc::proxy_auth_required, kMissingProxy, "no token");
}

bool Authenticator::is_own_token(std::string_view token) const
{
    return holder_of(token) != nullptr;
}

bool Authenticator::carries_own_token(std::string_view authorization) const
{
    if (const auto token = bearer_token(authorization)) {
        return is_own_token(*token);
    }
    const auto basic = after_scheme(authorization, "basic");
    const auto decoded = basic ? decode_basic(*basic) : std::nullopt;
    return decoded && (is_own_token(decoded->password) || is_own_token(decoded->user));
}

}  // namespace llmproxy::auth
