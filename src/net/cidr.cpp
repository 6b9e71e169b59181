#include "llmproxy/net/cidr.hpp"

#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/net/ip.hpp"

namespace llmproxy::net {

namespace ip = boost::asio::ip;

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
    const auto block = core::IpBlock::parse(text);
    if (!block) {
        return core::Failure(core::Errc::bad_request, core::Origin::self,
                             "not an IP address or CIDR block: " + std::string(text));
    }
    Cidr cidr;
    cidr.block_ = *block;
    return cidr;
}

bool Cidr::contains(const ip::address& address) const noexcept
{
    return block_.contains(to_core(address));
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
