#include "syntax.hpp"

#include "llmproxy/core/ip_address.hpp"
#include "llmproxy/core/number.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>

namespace llmproxy::config {
namespace {

constexpr std::size_t kMaxHost = 253;

bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_v4(std::string_view text)
{
    const auto address = core::IpAddress::parse(text);
    return address && address->is_v4();
}

bool is_v6(std::string_view text)
{
    const auto address = core::IpAddress::parse(text);
    return address && address->is_v6();
}

bool is_host_name(std::string_view text)
{
    return !text.empty() && text.size() <= kMaxHost && is_alnum(text.front()) &&
           text.find("..") == std::string_view::npos &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

/// Digits and points only: an address or a mistake, never a name.
bool looks_like_v4(std::string_view text)
{
    return text.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_bracketed(std::string_view text)
{
    return text.size() > 2 && text.front() == '[' && text.back() == ']';
}

bool is_host(std::string_view text)
{
    if (is_bracketed(text)) {
        return is_v6(text.substr(1, text.size() - 2));
    }
    return looks_like_v4(text) ? is_v4(text) : is_host_name(text);
}

bool is_authority(std::string_view text)
{
    if (is_host(text)) {
        return true;
    }
    const auto parts = parse_host_port(text);
    return parts && parts->port != 0;
}

}  // namespace

std::optional<HostPort> parse_host_port(std::string_view text)
{
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    auto host = text.substr(0, colon);
    const auto port = core::parse_number<std::uint16_t>(text.substr(colon + 1));
    if (!port || !is_host(host)) {
        return std::nullopt;
    }
    if (is_bracketed(host)) {
        host = host.substr(1, host.size() - 2);
    }
    return HostPort{std::string(host), *port};
}

bool is_loopback(const std::string& host)
{
    constexpr core::IpBlock kV4(core::IpAddress(core::IpAddress::V4Bytes{127, 0, 0, 0}), 8);
    const auto address = core::IpAddress::parse(host);
    return core::iequals(host, "localhost") ||
           (address && (kV4.contains(*address) || address->to_string() == "::1"));
}

bool is_address_or_cidr(const std::string& text)
{
    return core::IpBlock::parse(text).has_value();
}

bool is_http_url(std::string_view text, UrlParts allowed)
{
    const auto visible = [](char c) { return c > ' ' && c < '\x7f'; };
    const auto separator = text.find("://");
    if (separator == std::string_view::npos || !std::all_of(text.begin(), text.end(), visible) ||
        text.find_first_of("?#\\") != std::string_view::npos) {
        return false;
    }
    const auto scheme = text.substr(0, separator);
    if (!core::iequals(scheme, "http") && !core::iequals(scheme, "https")) {
        return false;
    }
    const auto rest = text.substr(separator + 3);
    const auto slash = rest.find('/');
    auto authority = rest.substr(0, slash);
    const auto path = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        if (!allowed.userinfo) {
            return false;
        }
        authority.remove_prefix(at + 1);
    }
    return is_authority(authority) && (allowed.path || path.empty());
}

bool is_header_name(std::string_view text)
{
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return is_alnum(c) || kMarks.find(c) != std::string_view::npos;
    });
}

bool is_header_value(std::string_view text)
{
    return std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && c != '\t') || byte == 0x7f;
    });
}

bool is_reserved_header(std::string_view name)
{
    constexpr std::array<std::string_view, 11> kReserved{"connection",
                                                         "content-length",
                                                         "host",
                                                         "keep-alive",
                                                         "proxy-authenticate",
                                                         "proxy-authorization",
                                                         "proxy-connection",
                                                         "te",
                                                         "trailer",
                                                         "transfer-encoding",
                                                         "upgrade"};
    return std::any_of(kReserved.begin(), kReserved.end(),
                       [&](std::string_view reserved) { return core::iequals(reserved, name); });
}

}  // namespace llmproxy::config
