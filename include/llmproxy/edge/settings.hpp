#pragma once

#include "llmproxy/net/settings.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llmproxy::edge {

/// What a listener answers. A set of bits.
enum class Role : std::uint8_t { gateway = 1, forward = 2, health = 4, admin = 8, metrics = 16 };

/// One address to listen on.
struct ListenerSettings {
    std::string name;
    std::string address;     ///< `host:port`; IPv6 hosts in brackets; port 0 lets the system choose
    std::uint8_t roles = 0;  ///< Role bits
    std::optional<net::ServerTlsSettings> tls;  ///< none: plain
    bool proxy_protocol = false;  ///< expect a PROXY protocol v1/v2 header from trusted_proxies

    [[nodiscard]] bool serves(Role role) const noexcept
    {
        return (roles & static_cast<std::uint8_t>(role)) != 0;
    }
    friend bool operator==(const ListenerSettings&, const ListenerSettings&) = default;
};

/// `server:` and what of `limits:` concerns connections and heads.
struct Settings {
    std::uint32_t threads = 0;  ///< 0: one per core
    std::chrono::nanoseconds drain_delay{0};
    std::chrono::nanoseconds drain_timeout{std::chrono::seconds(30)};
    std::uint32_t max_connections = 10'000;
    std::vector<std::string> trusted_proxies;  ///< CIDRs or addresses
    std::vector<ListenerSettings> listeners;

    std::uint64_t max_header_bytes = 32 * 1024;
    std::chrono::nanoseconds header_timeout{std::chrono::seconds(10)};
    std::chrono::nanoseconds keepalive_timeout{std::chrono::seconds(75)};
    std::chrono::nanoseconds write_timeout{std::chrono::seconds(60)};
    /// A request that takes longer to answer counts as slow; 0: none does.
    std::chrono::nanoseconds slow_request_threshold{std::chrono::seconds(10)};
};

}  // namespace llmproxy::edge
