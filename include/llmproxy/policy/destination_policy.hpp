#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/host.hpp"
#include "llmproxy/policy/address_class.hpp"
#include "llmproxy/policy/settings.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace llmproxy::policy {

/// How a destination is going to be used: selects the usual ports.
enum class DestinationUse : std::uint8_t { connect, http };

/// Which rule decided about a destination, in the order in which they are asked.
enum class DestinationRule : std::uint8_t {
    allowed,
    destination_not_listed,  ///< no pattern of `forward.allow` covers the host
    port_not_allowed,        ///< one does, but not on this port
    token_not_allowed,   ///< `auth.static_tokens[].hosts` of the client's token does not cover it
    own_listener,        ///< the address is one this program listens on
    address_not_public,  ///< the address is neither global nor in `forward.allow_private`
};

/// Number of rules that refuse, for tables; `allowed` is not one.
inline constexpr std::size_t kRefusingRules = 5;

/// The rule's word for logs, metrics and error bodies; static text.
[[nodiscard]] std::string_view to_text(DestinationRule rule) noexcept;

/// The addresses that this program listens on.
/// Thread safety: immutable once made.
class OwnListeners {
public:
    struct Entry {
        core::IpAddress address;  ///< 0.0.0.0 or :: for a wildcard
        std::uint16_t port = 0;
    };

    OwnListeners() = default;
    explicit OwnListeners(std::vector<Entry> entries) : entries_(std::move(entries)) {}

    /// Whether any listener has this port: only then `is_own` needs the local addresses.
    [[nodiscard]] bool has_port(std::uint16_t port) const noexcept;

    /// Whether a connection to `address` and `port` would come back to this program.
    /// \param local  the addresses of this machine's interfaces as they are now.
    [[nodiscard]] bool is_own(const core::IpAddress& address, std::uint16_t port,
                              std::span<const core::IpAddress> local) const noexcept;

private:
    std::vector<Entry> entries_;
};

/// Decides which destinations a client of the forward proxy may reach. Asked twice: about the host
/// before a name is resolved, then about each address that came of it.
///
/// Performs no I/O. Thread safety: immutable once made. A reload makes a new one.
class DestinationPolicy {
public:
    struct AddressVerdict {
        DestinationRule rule = DestinationRule::allowed;
        AddressClass address_class = AddressClass::global;
    };

    /// Allows nothing.
    DestinationPolicy() = default;
    /// Fails with Errc::bad_request on a pattern or block that cannot be read, which a validated
    /// configuration does not have.
    [[nodiscard]] static core::Result<DestinationPolicy> make(const DestinationSettings& settings);

    /// \param token_hosts  the list of the client's token, which narrows down what the policy
    ///                     allows; null: it has none.
    [[nodiscard]] DestinationRule
    check_host(const core::Host& host, std::uint16_t port, DestinationUse use,
               const std::vector<core::HostPattern>* token_hosts = nullptr) const noexcept;

    /// \param local  see OwnListeners::is_own.
    [[nodiscard]] AddressVerdict
    check_address(const core::IpAddress& address, std::uint16_t port, const OwnListeners& own,
                  std::span<const core::IpAddress> local) const noexcept;

private:
    std::vector<core::HostPattern> allow_;
    std::vector<core::IpBlock> allow_private_;
    std::vector<std::uint16_t> connect_ports_;
    std::vector<std::uint16_t> http_ports_;
};

}  // namespace llmproxy::policy
