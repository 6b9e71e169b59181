#pragma once

#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/auth/settings.hpp"
#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::auth {

/// The tokens that the configuration names, as accounts know them.
[[nodiscard]] std::vector<accounts::StaticAccount> static_accounts(const Settings& settings);

/// Turns the credentials of a request into the account that they stand for.
///
/// `recall` asks memory only and never waits; where it knows nothing, `look_up` asks the store.
/// The first credential that is one of ours decides. Mode open: always `Accounts::anonymous`.
/// Thread safety: immutable once made, so every member may be called concurrently. A reload makes a
/// new one. Lifetime: `accounts` outlives it.
class Authenticator {
public:
    using Found = core::Result<accounts::AccountPtr>;

    Authenticator(const Settings& settings, accounts::Accounts& accounts);

    /// Whose token the request shows.
    /// Fails with Errc::invalid_api_key, with a message for the client that never holds the
    /// credential; `look_up` also like Accounts::look_up.
    [[nodiscard]] std::optional<Found> recall(const Credentials& credentials) const;
    core::Task<Found> look_up(Credentials credentials, core::Deadline deadline) const;

    /// Whose token the value of Proxy-Authorization shows: `Bearer <token>`, or `Basic` with the token
    /// as user or as password (RFC 7617). No other header counts on the forward proxy: an
    /// `Authorization` there is the origin's.
    /// Fails with Errc::proxy_auth_required, to be answered with kProxyChallenge; `look_up_proxy` also
    /// like Accounts::look_up.
    [[nodiscard]] std::optional<Found> recall_proxy(std::string_view proxy_authorization) const;
    core::Task<Found> look_up_proxy(std::string_view proxy_authorization,
                                    core::Deadline deadline) const;

    /// Whether `token` is one of the configured tokens, whatever the mode, or has the form of ours.
    [[nodiscard]] bool is_own_token(std::string_view token) const;

    /// Whether an `Authorization` value (Bearer or Basic) carries one of our tokens: such a header must
    /// not leave with a forwarded request.
    [[nodiscard]] bool carries_own_token(std::string_view authorization) const;

private:
    struct Refusals;

    template <typename Tokens>
    std::optional<Found> recall_any(Tokens&& tokens, const Refusals& refusals) const;
    core::Task<Found> look_up_any(std::vector<std::string> tokens, const Refusals& refusals,
                                  core::Deadline deadline) const;

    Mode mode_;
    accounts::Accounts& accounts_;
};

}  // namespace llmproxy::auth
