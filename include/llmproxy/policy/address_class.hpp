#pragma once

#include "llmproxy/core/ip_address.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace llmproxy::policy {

/// What an address is for, after the IANA special-purpose registries (RFC 6890 and its updates
/// RFC 8190 and those named below).
enum class AddressClass : std::uint8_t {
    global,        ///< none of the others: the public internet
    unspecified,   ///< 0.0.0.0/8 "this network" (RFC 791, RFC 1122), :: (RFC 4291)
    loopback,      ///< 127.0.0.0/8 (RFC 1122), ::1 (RFC 4291)
    private_use,   ///< 10/8, 172.16/12, 192.168/16 (RFC 1918)
    shared,        ///< 100.64.0.0/10, carrier-grade NAT (RFC 6598)
    link_local,    ///< 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291)
    unique_local,  ///< fc00::/7 (RFC 4193)
    site_local,    ///< fec0::/10, deprecated (RFC 3879)
    metadata,      ///< the addresses on which clouds serve credentials to their machines
    multicast,     ///< 224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291)
    broadcast,     ///< 255.255.255.255 (RFC 919, RFC 8190)
    documentation,  ///< 192.0.2/24 and others (RFC 5737), 2001:db8::/32 (RFC 3849), 3fff::/20 (RFC 9637)
    benchmarking,  ///< 198.18.0.0/15 (RFC 2544), 2001:2::/48 (RFC 5180)
    protocol_assignment,  ///< 192.0.0.0/24 (RFC 6890), 2001::/23 (RFC 2928), 192.88.99.0/24 (RFC 7526), 5f00::/16 (RFC 9602)
    discard_only,   ///< 100::/64 (RFC 6666), 100:0:0:1::/64 (RFC 9780)
    nat64,          ///< 64:ff9b::/96 around an IPv4 address that is not global (RFC 6052)
    nat64_local,    ///< 64:ff9b:1::/48 (RFC 8215)
    sixtofour,      ///< 2002::/16 around an IPv4 address that is not global (RFC 3056, RFC 7526)
    teredo,         ///< 2001::/32 (RFC 4380)
    v4_compatible,  ///< ::/96, deprecated (RFC 4291, section 2.5.5.1)
    reserved,       ///< 240.0.0.0/4 (RFC 1112), IPv6 outside 2000::/3 (RFC 4291, section 2.4)
};

/// The class's word for logs, `global`, `private_use`, ...; static text.
[[nodiscard]] std::string_view to_text(AddressClass address_class) noexcept;

/// The class of an address. IPv4-mapped ones are classified as the IPv4 address they stand for,
/// 64:ff9b::/96 and 6to4 as global if the IPv4 address inside is.
[[nodiscard]] AddressClass classify(const core::IpAddress& address) noexcept;

/// The IPv4 address inside a mapped, compatible, 64:ff9b::/96 or 6to4 one; none if there is none.
[[nodiscard]] std::optional<core::IpAddress> embedded_v4(const core::IpAddress& address) noexcept;

}  // namespace llmproxy::policy
