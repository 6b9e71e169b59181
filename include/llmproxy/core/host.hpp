#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/ip_address.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// A host of a request or of a configuration in one form: an address, or a name in lower case
/// without trailing dot. Two hosts that mean the same compare equal.
class Host {
public:
    /// Reads a host as written, IPv6 only in brackets.
    ///
    /// Whatever a resolver would take for an address becomes that address: every inet_aton notation
    /// of IPv4, also with a trailing dot, and IPv4-mapped IPv6. A name whose last label is a number
    /// but which is no such address is refused (as in the WHATWG URL standard, host parsing).
    /// Names: labels of letters, digits, `-` and `_`, none empty, longer than 63, or with `-` at an
    /// end; 253 characters in all (RFC 1035, section 2.3.4; RFC 1123, section 2.1; RFC 2181,
    /// section 11). `xn--` labels are names like any other; characters past ASCII are refused, as
    /// are zones (RFC 6874), IPvFuture and percent escapes.
    /// Fails with Errc::bad_request, the reason in message and detail.
    [[nodiscard]] static Result<Host> parse(std::string_view text);

    explicit Host(IpAddress address) noexcept : address_(address.unmapped()) {}

    [[nodiscard]] const std::optional<IpAddress>& address() const noexcept { return address_; }
    /// The name; empty for an address.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// As it stands in a URI or a Host field: IPv6 in brackets.
    [[nodiscard]] std::string to_string() const;
    /// As a resolver takes it: no brackets.
    [[nodiscard]] std::string to_lookup() const;

    friend bool operator==(const Host&, const Host&) = default;

private:
    explicit Host(std::string name) noexcept : name_(std::move(name)) {}
    std::optional<IpAddress> address_;
    std::string name_;
};

/// A pattern of destinations, `host[:port]`.
///
/// `*.x` is any name that has one or more labels before `x`, never `x` itself and never an address;
/// `*` alone is every name and address; anything else is that one host. IPv6 stands in brackets,
/// which may be left out when there is no port.
class HostPattern {
public:
    /// Fails with Errc::bad_request; the detail says what was expected.
    [[nodiscard]] static Result<HostPattern> parse(std::string_view text);

    /// Whether the host part covers `host`.
    [[nodiscard]] bool covers(const Host& host) const noexcept;
    /// Whether whatever it covers, `other` covers too, on the same ports. Ports that one names and
    /// the other leaves to the usual ones do not count as the same.
    [[nodiscard]] bool is_within(const HostPattern& other) const noexcept;
    /// The port that it names; none: the usual ones.
    [[nodiscard]] std::optional<std::uint16_t> port() const noexcept { return port_; }

private:
    enum class Kind : std::uint8_t { any, below, exact };
    HostPattern(Kind kind, std::optional<Host> host, std::optional<std::uint16_t> port)
        : kind_(kind), host_(std::move(host)), port_(port)
    {
    }
    Kind kind_;
    std::optional<Host> host_;  // none for `any`
    std::optional<std::uint16_t> port_;
};

/// A port in decimal without sign, leading zeros and spaces, 1 to 65535 (RFC 3986, section 3.2.3).
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text) noexcept;

}  // namespace llmproxy::core
