#include "llmproxy/http/forwarded.hpp"
#include "llmproxy/net/cidr.hpp"
#include "llmproxy/net/proxy_protocol.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>

/// PROXY headers, CIDR blocks and X-Forwarded-For: no input may do harm, and no header is longer than its input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    namespace net = llmproxy::net;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const auto header = net::parse_proxy_header(input);
    if (header && *header) {
        const auto& found = **header;
        if (found.consumed > size || found.source.has_value() != found.destination.has_value()) {
            std::abort();
        }
        const auto again = net::parse_proxy_header(input.substr(0, found.consumed));
        if (!again || !*again) {
            std::abort();
        }
    }
    const auto block = net::Cidr::parse(input);
    const auto peer = boost::asio::ip::make_address("10.0.0.1");
    if (block) {
        static_cast<void>(block->contains(peer));
    }
    const std::array trusted{*net::Cidr::parse("0.0.0.0/0"), *net::Cidr::parse("::/1")};
    const auto half = input.substr(0, size / 2);
    const std::array values{half, input.substr(size / 2)};
    static_cast<void>(llmproxy::http::forwarded_client(peer, values, trusted));
    static_cast<void>(net::is_loopback(input));
    return 0;
}
