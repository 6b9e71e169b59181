#pragma once

#include "llmproxy/core/failure.hpp"

#include <boost/asio/ip/address.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llmproxy::net {

/// One end of a connection as a PROXY protocol header tells it.
struct ProxyEndpoint {
    boost::asio::ip::address address;
    std::uint16_t port = 0;
};

/// What a PROXY protocol header said.
struct ProxyHeader {
    std::size_t consumed = 0;  ///< bytes of the header; what follows is the connection's own
    /// Both set or both empty. Empty for LOCAL, UNKNOWN and families other than TCP over IP:
    /// then the socket's own addresses hold.
    std::optional<ProxyEndpoint> source;
    std::optional<ProxyEndpoint> destination;
};

/// Longest version 1 header, CRLF included; longest version 2 header accepted, addresses and TLVs without
/// the 16 fixed bytes.
inline constexpr std::size_t kMaxProxyV1 = 107;
inline constexpr std::size_t kMaxProxyV2Payload = 4096;

/// Reads the HAProxy PROXY protocol header, version 1 or 2, at the start of a connection. TLVs are skipped.
/// \returns nothing while more bytes are needed.
/// Fails with Errc::bad_request as soon as the bytes cannot be a header any more.
[[nodiscard]] core::Result<std::optional<ProxyHeader>> parse_proxy_header(std::string_view input);

}  // namespace llmproxy::net
