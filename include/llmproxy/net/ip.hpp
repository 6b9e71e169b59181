#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/ip_address.hpp"

#include <boost/asio/ip/address.hpp>

#include <vector>

namespace llmproxy::net {

/// The same address as a plain value, mapped IPv4 unmapped; a zone is lost.
[[nodiscard]] core::IpAddress to_core(const boost::asio::ip::address& address) noexcept;

/// The same address for Asio.
[[nodiscard]] boost::asio::ip::address to_asio(const core::IpAddress& address) noexcept;

/// The addresses of this machine's interfaces now (getifaddrs; some tens of microseconds).
/// Fails with Errc::internal.
[[nodiscard]] core::Result<std::vector<core::IpAddress>> local_addresses();

}  // namespace llmproxy::net
