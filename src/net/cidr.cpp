#include "llmproxy/net/cidr.hpp"

#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"

namespace llmproxy::net {
namespace {

namespace ip = boost::asio::ip;

template <typename Bytes>
bool same_prefix(const Bytes& a, const Bytes& b, unsigned bits) noexcept
{
    for (std::size_t i = 0; i < a.size() && bits > 0; ++i) {
        const unsigned here = bits < 8 ? bits : 8;
        const unsigned mask = (0xff00U >> here) & 0xffU;
        if ((a[i] & mask) != (b[i] & mask)) {
            return false;
        }
        bits -= here;
    }
    return true;
}

}  // namespace

ip::address normalise(const ip::address& address) noexcept
{
    if (!address.is_v6() || !address.to_v6().is_v4_mapped()) {
        return address;
    }
    const auto bytes = address.to_v6().to_bytes();
    return ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
}

core::Result<Cidr> Cidr::parse(std::string_view text)
{
    const core::Failure wrong(core::Errc::bad_request, core::Origin::self,
                              "not an IP address or CIDR block: " + std::string(text));
    const auto slash = text.find('/');
    boost::system::error_code code;
    const auto address = ip::make_address(text.substr(0, slash), code);
    if (code || (address.is_v6() && address.to_v6().scope_id() != 0)) {
        return wrong;
    }
    unsigned bits = address.is_v4() ? 32 : 128;
    if (slash != std::string_view::npos) {
        const auto given = core::parse_number<unsigned>(text.substr(slash + 1));
        if (!given || *given > bits) {
            return wrong;
        }
        bits = *given;
    }
    Cidr block;
    block.base_ = address;
    if (address.is_v6() && bits >= 96 && address.to_v6().is_v4_mapped()) {
        block.base_ = normalise(address);
        bits -= 96;
    }
    block.bits_ = static_cast<std::uint8_t>(bits);
    return block;
}

bool Cidr::contains(const ip::address& address) const noexcept
{
    const auto plain = normalise(address);
    if (plain.is_v4() != base_.is_v4()) {
        return false;
    }
    return plain.is_v4() ? same_prefix(plain.to_v4().to_bytes(), base_.to_v4().to_bytes(), bits_)
                         : same_prefix(plain.to_v6().to_bytes(), base_.to_v6().to_bytes(), bits_);
}

bool is_loopback(std::string_view host) noexcept
{
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    if (core::iequals(host, "localhost")) {
        return true;
    }
    if (host.empty() || host.size() > 45) {
        return false;
    }
    boost::system::error_code code;
    const auto address = ip::make_address(host, code);
    return !code && normalise(address).is_loopback();
}

}  // namespace llmproxy::net
