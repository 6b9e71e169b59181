#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/ip_address.hpp"

#include <boost/asio/ip/address.hpp>
#include <string_view>

namespace llmproxy::net {

/// `address` with an IPv4-mapped IPv6 address turned into the IPv4 address it stands for.
[[nodiscard]] boost::asio::ip::address normalise(const boost::asio::ip::address& address) noexcept;

/// A core::IpBlock that is asked about Asio's addresses. Value type.
class Cidr {
public:
    /// Reads `address` or `address/bits`. A mapped IPv4 block of 96 bits or more becomes an IPv4 block.
    /// Host bits need not be zero. Fails with Errc::bad_request.
    [[nodiscard]] static core::Result<Cidr> parse(std::string_view text);

    /// Whether the address, mapped IPv4 normalised, lies in the block.
    [[nodiscard]] bool contains(const boost::asio::ip::address& address) const noexcept;

    Cidr() noexcept = default;

private:
    core::IpBlock block_;
};

/// Whether a host as written (name or address, IPv6 also in brackets) is this machine:
/// `localhost`, 127.0.0.0/8, ::1, mapped loopback. No name is resolved.
[[nodiscard]] bool is_loopback(std::string_view host) noexcept;

}  // namespace llmproxy::net
