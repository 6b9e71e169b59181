#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace llmproxy::auth {

/// Request headers that carry, or select, a credential: none of the client's goes on to a backend.
/// Lower case; compare ignoring case.
inline constexpr std::array<std::string_view, 6> kCredentialHeaders{
    "authorization",       "x-api-key",           "api-key",
    "proxy-authorization", "openai-organization", "openai-project",
};

/// The realtime subprotocol (`Sec-WebSocket-Protocol`) that carries a key starts with this.
inline constexpr std::string_view kKeySubprotocolPrefix = "openai-insecure-api-key.";

/// The values of a request's credential headers as received; empty where there was none.
/// Views: they must outlive the call they are passed to.
struct Credentials {
    std::string_view authorization{};  ///< `Bearer <token>`
    std::string_view x_api_key{};      ///< the bare token
    std::string_view api_key{};        ///< the bare token
    std::string_view
        proxy_authorization{};  ///< `Bearer <token>`, or `Basic` with the token as user or password
};

/// The token of an `Authorization: Bearer` value (RFC 6750, section 2.1), trimmed; none when the
/// scheme is another one or nothing follows.
[[nodiscard]] std::optional<std::string_view> bearer_token(std::string_view authorization) noexcept;

/// The challenge of a 407 (RFC 9110, section 11.7.1), as complete field lines. Basic comes first:
/// clients that know one scheme only know that one (RFC 7617).
inline constexpr std::string_view kProxyChallenge =
    "Proxy-Authenticate: Basic realm=\"llm-proxy\", charset=\"UTF-8\"\r\n"
    "Proxy-Authenticate: Bearer realm=\"llm-proxy\"\r\n";

}  // namespace llmproxy::auth
