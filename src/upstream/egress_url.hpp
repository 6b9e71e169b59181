#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/net/settings.hpp"

#include <string_view>

namespace llmproxy::upstream {

/// The egress proxy of `http(s)://[user:pass@]host:port`. User and password may be percent-encoded (RFC 3986, section
/// 2.1); they become a Basic credential (RFC 7617). Reads certificates for an https proxy.
/// Fails with Errc::internal, without the credentials in its detail; configuration has checked the text before.
[[nodiscard]] core::Result<net::EgressProxy> parse_egress_url(std::string_view url,
                                                              const net::ClientTlsSettings& tls);

}  // namespace llmproxy::upstream
