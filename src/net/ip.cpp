#include "llmproxy/net/ip.hpp"

#include <cerrno>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>

namespace llmproxy::net {

namespace ip = boost::asio::ip;
using core::IpAddress;

core::IpAddress to_core(const ip::address& address) noexcept
{
    return address.is_v4() ? IpAddress(address.to_v4().to_bytes())
                           : IpAddress(address.to_v6().to_bytes()).unmapped();
}

ip::address to_asio(const IpAddress& address) noexcept
{
    const auto bytes = address.bytes();
    if (address.is_v4()) {
        ip::address_v4::bytes_type v4{};
        std::memcpy(v4.data(), bytes.data(), v4.size());
        return ip::address_v4(v4);
    }
    ip::address_v6::bytes_type v6{};
    std::memcpy(v6.data(), bytes.data(), v6.size());
    return ip::address_v6(v6);
}

core::Result<std::vector<IpAddress>> local_addresses()
{
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return core::Failure(core::Errc::internal, core::Origin::self, "getifaddrs",
                             {errno, boost::system::system_category()});
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
    std::vector<IpAddress> found;
    for (const auto* item = list; item != nullptr; item = item->ifa_next) {
        if (item->ifa_addr == nullptr) {
            continue;
        }
        if (item->ifa_addr->sa_family == AF_INET) {
            IpAddress::V4Bytes bytes{};
            const auto& address = reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr;
            std::memcpy(bytes.data(), &address, bytes.size());
            found.emplace_back(bytes);
        } else if (item->ifa_addr->sa_family == AF_INET6) {
            IpAddress::V6Bytes bytes{};
            const auto& address = reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr;
            std::memcpy(bytes.data(), &address, bytes.size());
            found.emplace_back(bytes);
        }
    }
    return found;
}

}  // namespace llmproxy::net
