#include "llmproxy/auth/authenticator.hpp"

#include "header_value.hpp"
#include "llmproxy/accounts/token_text.hpp"
#include "llmproxy/core/text.hpp"

#include <memory>
#include <utility>

namespace llmproxy::auth {
namespace {

constexpr std::string_view kMissing = "You didn't provide an API key. You need to provide your API "
                                      "key in an Authorization header using "
                                      "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
constexpr std::string_view kWrong = "Incorrect API key provided.";
constexpr std::string_view kMissingProxy =
    "This proxy needs a token: send it as Proxy-Authorization, Bearer or Basic (as user or as "
    "password, e.g. https://TOKEN@proxy:8888).";
constexpr std::string_view kWrongProxy = "Incorrect proxy token.";

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

/// Calls `visit` with each token of a Proxy-Authorization until it returns true.
template <typename Visit>
bool visit_proxy_tokens(std::string_view value, Visit&& visit)
{
    if (const auto bearer = bearer_token(value)) {
        return visit(*bearer);
    }
    const auto basic = after_scheme(value, "basic");
    const auto decoded = basic ? decode_basic(*basic) : std::nullopt;
    if (!decoded) {
        return basic && visit(std::string_view("?"));  // something was shown
    }
    return visit(std::string_view(decoded->password)) || visit(std::string_view(decoded->user));
}

/// The same for all credentials of a request.
template <typename Visit>
bool visit_tokens(const Credentials& credentials, Visit&& visit)
{
    return visit(bearer_token(credentials.authorization).value_or("")) ||
           visit(core::trim(credentials.x_api_key)) || visit(core::trim(credentials.api_key)) ||
           visit_proxy_tokens(credentials.proxy_authorization, visit);
}

}  // namespace

std::vector<accounts::StaticAccount> static_accounts(const Settings& settings)
{
    std::vector<accounts::StaticAccount> all;
    for (const auto& entry : settings.static_tokens) {
        if (!entry.token.empty()) {
            all.push_back({entry.name, core::sha256(entry.token.reveal()), patterns_of(entry)});
        }
    }
    return all;
}

/// What a client is told that shows no token, or none of ours.
struct Authenticator::Refusals {
    core::Errc errc;
    std::string_view missing;
    std::string_view wrong;

    [[nodiscard]] core::Failure refuse(bool shown) const
    {
        core::Failure failure(errc, core::Origin::client, shown ? "unknown token" : "no token");
        failure.say(std::string(shown ? wrong : missing));
        return failure;
    }

    static const Refusals gateway;
    static const Refusals proxy;
};

const Authenticator::Refusals Authenticator::Refusals::gateway{core::Errc::invalid_api_key,
                                                               kMissing, kWrong};
const Authenticator::Refusals Authenticator::Refusals::proxy{core::Errc::proxy_auth_required,
                                                             kMissingProxy, kWrongProxy};

Authenticator::Authenticator(const Settings& settings, accounts::Accounts& accounts)
    : mode_(settings.mode), accounts_(accounts)
{
}

/// \param tokens  calls its argument with each token in turn until that returns true.
template <typename Tokens>
std::optional<Authenticator::Found> Authenticator::recall_any(Tokens&& tokens,
                                                              const Refusals& refusals) const
{
    if (mode_ == Mode::open) {
        return accounts_.anonymous();
    }
    bool shown = false;
    bool unknown = false;
    accounts::AccountPtr found;
    tokens([&](std::string_view token) {
        if (token.empty()) {
            return false;
        }
        shown = true;
        auto recalled = accounts_.recall(token);
        if (!recalled) {
            unknown = true;  // it may be ours, and then comes before what follows
            return true;
        }
        if (*recalled) {
            found = std::move(**recalled);
        }
        return found != nullptr;
    });
    if (unknown) {
        return std::nullopt;
    }
    if (found) {
        return Found(std::move(found));
    }
    return Found(refusals.refuse(shown));
}

core::Task<Authenticator::Found> Authenticator::look_up_any(std::vector<std::string> tokens,
                                                            const Refusals& refusals,
                                                            core::Deadline deadline) const
{
    for (auto& token : tokens) {
        auto found = co_await accounts_.look_up(std::move(token), deadline);
        if (found || found.error().errc() != core::Errc::invalid_api_key) {
            co_return found;
        }
    }
    co_return refusals.refuse(!tokens.empty());
}

std::optional<Authenticator::Found> Authenticator::recall(const Credentials& credentials) const
{
    return recall_any([&](auto&& visit) { visit_tokens(credentials, visit); }, Refusals::gateway);
}

core::Task<Authenticator::Found> Authenticator::look_up(Credentials credentials,
                                                        core::Deadline deadline) const
{
    std::vector<std::string> tokens;
    visit_tokens(credentials, [&](std::string_view token) {
        if (!token.empty()) {
            tokens.emplace_back(token);
        }
        return false;
    });
    return look_up_any(std::move(tokens), Refusals::gateway, deadline);
}

std::optional<Authenticator::Found>
Authenticator::recall_proxy(std::string_view proxy_authorization) const
{
    return recall_any([&](auto&& visit) { visit_proxy_tokens(proxy_authorization, visit); },
                      Refusals::proxy);
}

core::Task<Authenticator::Found> Authenticator::look_up_proxy(std::string_view proxy_authorization,
                                                              core::Deadline deadline) const
{
    std::vector<std::string> tokens;
    visit_proxy_tokens(proxy_authorization, [&](std::string_view token) {
        if (!token.empty()) {
            tokens.emplace_back(token);
        }
        return false;
    });
    return look_up_any(std::move(tokens), Refusals::proxy, deadline);
}

bool Authenticator::is_own_token(std::string_view token) const
{
    if (token.empty()) {
        return false;
    }
    if (accounts::has_token_form(token)) {
        return true;
    }
    const auto recalled = accounts_.recall(token);
    return recalled && recalled->has_value();
}

bool Authenticator::carries_own_token(std::string_view authorization) const
{
    return visit_proxy_tokens(authorization,
                              [&](std::string_view token) { return is_own_token(token); });
}

}  // namespace llmproxy::auth
