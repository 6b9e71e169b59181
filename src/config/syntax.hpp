#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::config {

/// `host:port` taken apart; the host without the brackets of IPv6.
struct HostPort {
    std::string host;
    std::uint16_t port = 0;
};

/// Reads `host:port`, `1.2.3.4:port`, `[v6]:port`. None when it is none of these.
[[nodiscard]] std::optional<HostPort> parse_host_port(std::string_view text);

/// Whether only this machine can reach the host: 127/8, ::1, localhost.
[[nodiscard]] bool is_loopback(const std::string& host);

/// An address, or an address with a prefix length that fits its family.
[[nodiscard]] bool is_address_or_cidr(const std::string& text);

/// What of an http(s) URL is allowed besides scheme, host and port.
struct UrlParts {
    bool userinfo = false;
    bool path = false;
};

/// `http(s)://[userinfo@]host[:port][/path]`, never with query or fragment (RFC 3986, section 3).
[[nodiscard]] bool is_http_url(std::string_view text, UrlParts allowed);

/// A header field name (token of RFC 9110, section 5.6.2).
[[nodiscard]] bool is_header_name(std::string_view text);

/// A header field value: no control characters (RFC 9110, section 5.5).
[[nodiscard]] bool is_header_value(std::string_view text);

/// Names that the proxy itself decides about: hop-by-hop and framing fields, and Host.
[[nodiscard]] bool is_reserved_header(std::string_view name);

}  // namespace llmproxy::config
