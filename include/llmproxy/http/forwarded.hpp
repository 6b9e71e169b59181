#pragma once

#include "llmproxy/http/head.hpp"
#include "llmproxy/net/cidr.hpp"

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::http {

/// Whether any of the blocks holds the address.
[[nodiscard]] bool is_trusted(const boost::asio::ip::address& address,
                              std::span<const net::Cidr> trusted) noexcept;

/// Who really sent a request that came through proxies.
///
/// Starts at the socket's peer and walks X-Forwarded-For from its right end for as long as the address reached
/// belongs to a trusted proxy. What cannot be read as an address ends the walk. An address may carry a port.
/// \param values   the values of all X-Forwarded-For fields, in the order received.
/// \param trusted  `server.trusted_proxies`.
/// \returns the address with mapped IPv4 normalised; the peer's own if it is not trusted.
[[nodiscard]] boost::asio::ip::address
forwarded_client(const boost::asio::ip::address& peer, std::span<const std::string_view> values,
                 std::span<const net::Cidr> trusted) noexcept;

/// The name of this process in Via fields (RFC 9110, section 7.6.3).
[[nodiscard]] std::string via_pseudonym(std::string_view instance);

/// Whether the Via fields name `pseudonym`: the message has passed here before.
[[nodiscard]] bool came_through(const Fields& fields, std::string_view pseudonym) noexcept;

/// How many more times a TRACE or OPTIONS may be forwarded, by its Max-Forwards (RFC 9110, section 7.6.2): 0 for one that ends
/// here; nothing without the field and for other methods. Fails with Errc::bad_request if it is not one number.
[[nodiscard]] core::Result<std::optional<std::uint64_t>> max_forwards(const RequestHead& head);

/// Appends a Via field: what the received ones say, then `pseudonym`.
void append_via(std::string& out, const Fields& received, std::string_view pseudonym);

}  // namespace llmproxy::http
