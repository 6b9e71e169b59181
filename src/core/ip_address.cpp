#include "llmproxy/core/ip_address.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <limits>

namespace llmproxy::core {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/// One part of an inet_aton address: decimal, 0octal or 0xhexadecimal.
std::optional<std::uint32_t> parse_part(std::string_view text) noexcept
{
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.front() == '0') {
        base = 8;
    }
    std::uint32_t value = 0;
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (text.empty() || error != std::errc() || stop != end) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept
{
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::copy(text.begin(), text.end(), terminated.begin());
    V4Bytes v4{};
    if (::inet_pton(AF_INET, terminated.data(), v4.data()) == 1) {
        return IpAddress(v4);
    }
    V6Bytes v6{};
    if (::inet_pton(AF_INET6, terminated.data(), v6.data()) == 1) {
        return IpAddress(v6);
    }
    return std::nullopt;
}

std::optional<IpAddress> IpAddress::parse_any_v4(std::string_view text) noexcept
{
    std::uint32_t address = 0;
    for (unsigned part = 0; part < 4; ++part) {
        const auto dot = text.find('.');
        const auto value = parse_part(text.substr(0, dot));
        const bool last = dot == std::string_view::npos;
        const auto largest = last ? std::numeric_limits<std::uint32_t>::max() >> (8 * part) : 0xffU;
        if (!value || *value > largest) {
            return std::nullopt;
        }
        if (last) {
            address |= *value;
            return IpAddress(V4Bytes{
                static_cast<std::uint8_t>(address >> 24), static_cast<std::uint8_t>(address >> 16),
                static_cast<std::uint8_t>(address >> 8), static_cast<std::uint8_t>(address)});
        }
        address |= *value << (24 - 8 * part);
        text.remove_prefix(dot + 1);
    }
    return std::nullopt;
}

IpAddress IpAddress::unmapped() const noexcept
{
    if (!v6_ || !std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin())) {
        return *this;
    }
    return IpAddress(V4Bytes{bytes_[12], bytes_[13], bytes_[14], bytes_[15]});
}

std::string IpAddress::to_string() const
{
    std::array<char, INET6_ADDRSTRLEN> text{};
    // Cannot fail: the family is known and the buffer takes the longest address.
    ::inet_ntop(v6_ ? AF_INET6 : AF_INET, bytes_.data(), text.data(), text.size());
    return text.data();
}

std::optional<IpBlock> IpBlock::parse(std::string_view text) noexcept
{
    const auto slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) {
        return std::nullopt;
    }
    unsigned bits = address->is_v4() ? 32 : 128;
    if (slash != std::string_view::npos) {
        const auto number = text.substr(slash + 1);
        const auto* const end = number.data() + number.size();
        unsigned given = 0;
        const auto [stop, error] = std::from_chars(number.data(), end, given);
        if (error != std::errc() || stop != end || given > bits) {
            return std::nullopt;
        }
        bits = given;
    }
    const auto unmapped = address->unmapped();
    if (bits >= 96 && address->is_v6() && unmapped.is_v4()) {
        return IpBlock(unmapped, static_cast<std::uint8_t>(bits - 96));
    }
    return IpBlock(*address, static_cast<std::uint8_t>(bits));
}

bool IpBlock::contains(const IpAddress& address) const noexcept
{
    const auto plain = address.unmapped();
    if (plain.is_v4() != base_.is_v4()) {
        return false;
    }
    const auto wanted = base_.bytes();
    const auto given = plain.bytes();
    unsigned left = bits_;
    for (std::size_t i = 0; i < wanted.size() && left > 0; ++i) {
        const unsigned here = left < 8 ? left : 8;
        const unsigned mask = (0xff00U >> here) & 0xffU;
        if ((wanted[i] & mask) != (given[i] & mask)) {
            return false;
        }
        left -= here;
    }
    return true;
}

}  // namespace llmproxy::core
