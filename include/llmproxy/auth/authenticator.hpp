#pragma once

#include "llmproxy/auth/credentials.hpp"
#include "llmproxy/auth/settings.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/host.hpp"
#include "llmproxy/core/sha256.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace llmproxy::auth {

/// Who makes a request.
struct Principal {
    std::string name;   ///< the token's name, `anonymous` when nobody has to show one
    bool open = false;  ///< nothing was checked
    /// Where the token may go by the forward proxy; null: wherever `forward.allow` says.
    std::shared_ptr<const std::vector<core::HostPattern>> hosts;
};

/// Turns the credentials of a request into a Principal.
///
/// Tokens are kept as SHA-256 digests only; looking up a digest tells nothing of use by its
/// duration.
/// Thread safety: immutable once made, so every member may be called concurrently. A reload makes a
/// new one.
class Authenticator {
public:
    explicit Authenticator(const Settings& settings);

    /// Whose token the request shows. The first credential that is one of ours decides.
    /// Mode open: always `anonymous`.
    /// Fails with Errc::invalid_api_key, with a message for the client that never holds the
    /// credential.
    [[nodiscard]] core::Result<Principal> authenticate(const Credentials& credentials) const;

    /// Whose token the value of Proxy-Authorization shows: `Bearer <token>`, or `Basic` with the token
    /// as user or as password (RFC 7617). No other header counts on the forward proxy: an
    /// `Authorization` there is the origin's.
    /// Fails with Errc::proxy_auth_required, to be answered with kProxyChallenge.
    [[nodiscard]] core::Result<Principal>
    authenticate_proxy(std::string_view proxy_authorization) const;

    /// Whether `token` is one of the configured tokens, whatever the mode.
    [[nodiscard]] bool is_own_token(std::string_view token) const;

    /// Whether an `Authorization` value (Bearer or Basic) carries one of the configured tokens:
    /// such a header must not leave with a forwarded request.
    [[nodiscard]] bool carries_own_token(std::string_view authorization) const;

private:
    using Digest = core::Sha256;
    struct DigestHash {
        std::size_t operator()(const Digest& digest) const noexcept;
    };
    struct DigestEqual {
        bool operator()(const Digest& a, const Digest& b) const noexcept;
    };

    class Search;

    const Principal* holder_of(std::string_view token) const noexcept;

    Mode mode_;
    std::unordered_map<Digest, Principal, DigestHash, DigestEqual> holders_;
};

}  // namespace llmproxy::auth
