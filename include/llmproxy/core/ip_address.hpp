#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// An IPv4 or IPv6 address as a plain value; no zone, no port. Needs no library, so that decisions
/// about addresses can be made where there is no I/O.
///
/// Ordered by family, then by bytes. Default-constructed it is 0.0.0.0.
class IpAddress {
public:
    using V4Bytes = std::array<std::uint8_t, 4>;
    using V6Bytes = std::array<std::uint8_t, 16>;

    constexpr IpAddress() noexcept = default;
    constexpr explicit IpAddress(const V4Bytes& bytes) noexcept
        : bytes_{bytes[0], bytes[1], bytes[2], bytes[3]}
    {
    }
    constexpr explicit IpAddress(const V6Bytes& bytes) noexcept : v6_(true), bytes_(bytes) {}

    /// Reads the usual text of an address: four decimal parts without leading zeros, or IPv6
    /// (RFC 4291, section 2.2) without brackets and zone. None for anything else.
    [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text) noexcept;

    /// Reads every notation of IPv4 that inet_aton takes (POSIX.1-2008, inet_addr): one to four
    /// parts, each decimal, octal (leading 0) or hexadecimal (leading 0x), the last one filling the
    /// bytes that are left: `2130706433`, `0x7f.1`, `0177.0.0.1`. None for anything else.
    [[nodiscard]] static std::optional<IpAddress> parse_any_v4(std::string_view text) noexcept;

    [[nodiscard]] constexpr bool is_v4() const noexcept { return !v6_; }
    [[nodiscard]] constexpr bool is_v6() const noexcept { return v6_; }
    /// The 4 or 16 bytes, network order; a view into this object.
    [[nodiscard]] constexpr std::span<const std::uint8_t> bytes() const noexcept
    {
        return {bytes_.data(), v6_ ? 16U : 4U};
    }

    /// The IPv4 address that an IPv4-mapped one (::ffff:0:0/96; RFC 4291, section 2.5.5.2) stands
    /// for; any other address unchanged.
    [[nodiscard]] IpAddress unmapped() const noexcept;

    /// RFC 5952 text, without brackets.
    [[nodiscard]] std::string to_string() const;

    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;

private:
    bool v6_ = false;
    V6Bytes bytes_{};
};

/// A block of addresses of one family (CIDR; RFC 4632 and RFC 4291, section 2.3). Value type.
class IpBlock {
public:
    /// 0.0.0.0/32.
    constexpr IpBlock() noexcept = default;
    /// \param bits  of the prefix, at most 32 or 128; more counts as that.
    constexpr IpBlock(IpAddress base, std::uint8_t bits) noexcept : base_(base), bits_(bits) {}

    /// Reads `address` or `address/bits`. A mapped IPv4 block of 96 bits or more becomes an IPv4
    /// block. Host bits need not be zero. None for anything else.
    [[nodiscard]] static std::optional<IpBlock> parse(std::string_view text) noexcept;

    /// Whether the address, mapped IPv4 unmapped, lies in the block.
    [[nodiscard]] bool contains(const IpAddress& address) const noexcept;

    [[nodiscard]] constexpr const IpAddress& base() const noexcept { return base_; }
    [[nodiscard]] constexpr std::uint8_t bits() const noexcept { return bits_; }

private:
    IpAddress base_;
    std::uint8_t bits_ = 32;
};

}  // namespace llmproxy::core
