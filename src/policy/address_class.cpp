#include "llmproxy/policy/address_class.hpp"

#include <algorithm>
#include <array>

namespace llmproxy::policy {
namespace {

using core::IpAddress;
using core::IpBlock;

constexpr IpBlock v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d,
                     std::uint8_t bits) noexcept
{
    return {IpAddress(IpAddress::V4Bytes{a, b, c, d}), bits};
}

constexpr IpBlock v6(std::array<std::uint16_t, 8> groups, std::uint8_t bits) noexcept
{
    IpAddress::V6Bytes bytes{};
    for (std::size_t i = 0; i < groups.size(); ++i) {
        bytes.at(2 * i) = static_cast<std::uint8_t>(groups.at(i) >> 8);
        bytes.at(2 * i + 1) = static_cast<std::uint8_t>(groups.at(i) & 0xff);
    }
    return {IpAddress(bytes), bits};
}

struct Row {
    IpBlock block;
    AddressClass address_class;
};

// Blocks inside others stand before them.
constexpr std::array kTable{
    // AWS, GCP, Azure and others; Azure's own address; Alibaba.
    Row{v4(169, 254, 169, 254, 32), AddressClass::metadata},
    Row{v4(168, 63, 129, 16, 32), AddressClass::metadata},
    Row{v4(100, 100, 100, 200, 32), AddressClass::metadata},
    Row{v4(0, 0, 0, 0, 8), AddressClass::unspecified},
    Row{v4(10, 0, 0, 0, 8), AddressClass::private_use},
    Row{v4(100, 64, 0, 0, 10), AddressClass::shared},
    Row{v4(127, 0, 0, 0, 8), AddressClass::loopback},
    Row{v4(169, 254, 0, 0, 16), AddressClass::link_local},
    Row{v4(172, 16, 0, 0, 12), AddressClass::private_use},
    Row{v4(192, 0, 0, 0, 24), AddressClass::protocol_assignment},
    Row{v4(192, 0, 2, 0, 24), AddressClass::documentation},
    Row{v4(192, 88, 99, 0, 24), AddressClass::protocol_assignment},
    Row{v4(192, 168, 0, 0, 16), AddressClass::private_use},
    Row{v4(198, 18, 0, 0, 15), AddressClass::benchmarking},
    Row{v4(198, 51, 100, 0, 24), AddressClass::documentation},
    Row{v4(203, 0, 113, 0, 24), AddressClass::documentation},
    Row{v4(224, 0, 0, 0, 4), AddressClass::multicast},
    Row{v4(255, 255, 255, 255, 32), AddressClass::broadcast},
    Row{v4(240, 0, 0, 0, 4), AddressClass::reserved},

    // AWS and GCP.
    Row{v6({0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254}, 128), AddressClass::metadata},
    Row{v6({0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254}, 128), AddressClass::metadata},
    Row{v6({}, 128), AddressClass::unspecified},
    Row{v6({0, 0, 0, 0, 0, 0, 0, 1}, 128), AddressClass::loopback},
    Row{v6({}, 96), AddressClass::v4_compatible},
    Row{v6({0x64, 0xff9b, 0, 0, 0, 0, 0, 0}, 96), AddressClass::nat64},
    Row{v6({0x64, 0xff9b, 1, 0, 0, 0, 0, 0}, 48), AddressClass::nat64_local},
    Row{v6({0x100, 0, 0, 0, 0, 0, 0, 0}, 64), AddressClass::discard_only},
    Row{v6({0x100, 0, 0, 1, 0, 0, 0, 0}, 64), AddressClass::discard_only},
    Row{v6({0x2001, 0, 0, 0, 0, 0, 0, 0}, 32), AddressClass::teredo},
    Row{v6({0x2001, 2, 0, 0, 0, 0, 0, 0}, 48), AddressClass::benchmarking},
    Row{v6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}, 32), AddressClass::documentation},
    Row{v6({0x2001, 0, 0, 0, 0, 0, 0, 0}, 23), AddressClass::protocol_assignment},
    Row{v6({0x2002, 0, 0, 0, 0, 0, 0, 0}, 16), AddressClass::sixtofour},
    Row{v6({0x3fff, 0, 0, 0, 0, 0, 0, 0}, 20), AddressClass::documentation},
    Row{v6({0x2000, 0, 0, 0, 0, 0, 0, 0}, 3), AddressClass::global},
    Row{v6({0x5f00, 0, 0, 0, 0, 0, 0, 0}, 16), AddressClass::protocol_assignment},
    Row{v6({0xfc00, 0, 0, 0, 0, 0, 0, 0}, 7), AddressClass::unique_local},
    Row{v6({0xfe80, 0, 0, 0, 0, 0, 0, 0}, 10), AddressClass::link_local},
    Row{v6({0xfec0, 0, 0, 0, 0, 0, 0, 0}, 10), AddressClass::site_local},
    Row{v6({0xff00, 0, 0, 0, 0, 0, 0, 0}, 8), AddressClass::multicast},
    Row{v6({}, 0), AddressClass::reserved},
};

AddressClass look_up(const IpAddress& address) noexcept
{
    const auto* const row = std::find_if(kTable.begin(), kTable.end(), [&](const Row& candidate) {
        return candidate.block.contains(address);
    });
    return row == kTable.end() ? AddressClass::global : row->address_class;
}

IpAddress v4_at(const IpAddress& address, std::size_t offset) noexcept
{
    const auto part = address.bytes().subspan(offset, 4);
    return IpAddress(IpAddress::V4Bytes{part[0], part[1], part[2], part[3]});
}

}  // namespace

std::string_view to_text(AddressClass address_class) noexcept
{
    switch (address_class) {
    case AddressClass::global: return "global";
    case AddressClass::unspecified: return "unspecified";
    case AddressClass::loopback: return "loopback";
    case AddressClass::private_use: return "private_use";
    case AddressClass::shared: return "shared";
    case AddressClass::link_local: return "link_local";
    case AddressClass::unique_local: return "unique_local";
    case AddressClass::site_local: return "site_local";
    case AddressClass::metadata: return "metadata";
    case AddressClass::multicast: return "multicast";
    case AddressClass::broadcast: return "broadcast";
    case AddressClass::documentation: return "documentation";
    case AddressClass::benchmarking: return "benchmarking";
    case AddressClass::protocol_assignment: return "protocol_assignment";
    case AddressClass::discard_only: return "discard_only";
    case AddressClass::nat64: return "nat64";
    case AddressClass::nat64_local: return "nat64_local";
    case AddressClass::sixtofour: return "sixtofour";
    case AddressClass::teredo: return "teredo";
    case AddressClass::v4_compatible: return "v4_compatible";
    case AddressClass::reserved: return "reserved";
    }
    return "reserved";
}

std::optional<IpAddress> embedded_v4(const IpAddress& address) noexcept
{
    const auto plain = address.unmapped();
    if (plain.is_v4()) {
        return address.is_v6() ? std::optional(plain) : std::nullopt;
    }
    switch (look_up(plain)) {
    case AddressClass::sixtofour: return v4_at(plain, 2);
    case AddressClass::nat64:
    case AddressClass::v4_compatible: return v4_at(plain, 12);
    default: return std::nullopt;
    }
}

AddressClass classify(const IpAddress& address) noexcept
{
    const auto plain = address.unmapped();
    const auto found = look_up(plain);
    if (found == AddressClass::nat64 || found == AddressClass::sixtofour) {
        const auto inner = embedded_v4(plain);
        return inner && look_up(*inner) == AddressClass::global ? AddressClass::global : found;
    }
    return found;
}

}  // namespace llmproxy::policy
