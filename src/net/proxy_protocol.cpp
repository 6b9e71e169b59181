#include "llmproxy/net/proxy_protocol.hpp"

#include "llmproxy/core/number.hpp"

#include <algorithm>
#include <array>

namespace llmproxy::net {
namespace {

namespace ip = boost::asio::ip;
using Parsed = core::Result<std::optional<ProxyHeader>>;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::string_view kPrefix = "PROXY ";
constexpr std::size_t kFixed = 16;

core::Failure refused(const char* why)
{
    return {core::Errc::bad_request, core::Origin::client, why};
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept
{
    const bool padded = text.size() > 1 && text.front() == '0';
    return padded ? std::nullopt : core::parse_number<std::uint16_t>(text);
}

/// Takes the text up to the next space; nothing if there is none left to take.
std::string_view take_word(std::string_view& rest) noexcept
{
    const auto space = std::min(rest.find(' '), rest.size());
    const auto word = rest.substr(0, space);
    rest.remove_prefix(std::min(space + 1, rest.size()));
    return word;
}

Parsed parse_v1(std::string_view input)
{
    const auto window = input.substr(0, kMaxProxyV1);
    const auto end = window.find('\n');
    if (end == std::string_view::npos) {
        if (window.size() == kMaxProxyV1) {
            return refused("PROXY line is too long");
        }
        return std::nullopt;
    }
    if (window[end - 1] != '\r') {
        return refused("PROXY line does not end in CRLF");
    }
    ProxyHeader header;
    header.consumed = end + 1;
    auto rest = window.substr(kPrefix.size(), end - 1 - kPrefix.size());
    if (rest.ends_with(' ')) {
        return refused("PROXY line is malformed");
    }
    const auto family = take_word(rest);
    if (family == "UNKNOWN") {
        return header;
    }
    if (family != "TCP4" && family != "TCP6") {
        return refused("PROXY line names an unknown family");
    }
    std::array<ProxyEndpoint, 2> ends;
    for (auto& point : ends) {
        boost::system::error_code code;
        point.address = ip::make_address(take_word(rest), code);
        if (code || point.address.is_v4() != (family == "TCP4")) {
            return refused("PROXY line has a wrong address");
        }
    }
    for (auto& point : ends) {
        const auto port = parse_port(take_word(rest));
        if (!port) {
            return refused("PROXY line has a wrong port");
        }
        point.port = *port;
    }
    if (!rest.empty()) {
        return refused("PROXY line has too many words");
    }
    header.source = ends[0];
    header.destination = ends[1];
    return header;
}

template <typename Address>
void read_ends(std::string_view payload, ProxyHeader& header)
{
    typename Address::bytes_type bytes{};
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(payload[i]); };
    std::array<ProxyEndpoint, 2> ends;
    for (std::size_t i = 0; i < 2; ++i) {
        for (std::size_t k = 0; k < bytes.size(); ++k) {
            bytes[k] = at(i * bytes.size() + k);
        }
        const auto port = 2 * bytes.size() + 2 * i;
        ends[i].address = Address(bytes);
        ends[i].port = static_cast<std::uint16_t>(at(port) << 8U | at(port + 1));
    }
    header.source = ends[0];
    header.destination = ends[1];
}

Parsed parse_v2(std::string_view input)
{
    if (input.size() < kFixed) {
        return std::nullopt;
    }
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
    const unsigned command = at(12) & 0x0fU;
    const unsigned family = at(13);
    const std::size_t length = static_cast<std::size_t>(at(14)) << 8U | at(15);
    if (at(12) >> 4U != 2 || command > 1) {
        return refused("PROXY header has an unknown version or command");
    }
    if (length > kMaxProxyV2Payload) {
        return refused("PROXY header is too long");
    }
    const bool tcp4 = family == 0x11;
    const bool tcp6 = family == 0x21;
    if (command == 1 && ((tcp4 && length < 12) || (tcp6 && length < 36))) {
        return refused("PROXY header is shorter than its addresses");
    }
    if (input.size() < kFixed + length) {
        return std::nullopt;
    }
    ProxyHeader header;
    header.consumed = kFixed + length;
    const auto payload = input.substr(kFixed, length);
    if (command == 1 && tcp4) {
        read_ends<ip::address_v4>(payload, header);
    } else if (command == 1 && tcp6) {
        read_ends<ip::address_v6>(payload, header);
    }
    return header;
}

}  // namespace

Parsed parse_proxy_header(std::string_view input)
{
    const auto begins = [&](std::string_view with) {
        const auto common = std::min(with.size(), input.size());
        return input.substr(0, common) == with.substr(0, common);
    };
    if (input.empty()) {
        return std::nullopt;
    }
    if (begins(kSignature)) {
        return parse_v2(input);
    }
    if (!begins(kPrefix)) {
        return refused("connection does not begin with a PROXY header");
    }
    if (input.size() < kPrefix.size()) {
        return std::nullopt;
    }
    return parse_v1(input);
}

}  // namespace llmproxy::net
