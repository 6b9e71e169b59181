#include "url.hpp"

#include "llmproxy/core/host.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::cli {
namespace {

bool is_plain(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) {
        return c > ' ' && c < '\x7f' && c != '@' && c != '?' && c != '#' && c != '\\';
    });
}

}  // namespace

std::optional<Url> parse_url(std::string_view text)
{
    Url url;
    const auto scheme = text.substr(0, text.find("://"));
    url.tls = core::iequals(scheme, "https");
    if ((!url.tls && !core::iequals(scheme, "http")) || scheme.size() == text.size() ||
        !is_plain(text)) {
        return std::nullopt;
    }
    text.remove_prefix(scheme.size() + 3);
    const auto slash = std::min(text.find('/'), text.size());
    auto authority = text.substr(0, slash);
    auto path = text.substr(slash);
    while (path.ends_with('/')) {
        path.remove_suffix(1);
    }
    url.authority = authority;
    url.path = path;
    url.port = url.tls ? 443 : 80;
    const auto colon = authority.rfind(':');
    if (colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos) {
        const auto port = core::parse_port(authority.substr(colon + 1));
        if (!port) {
            return std::nullopt;
        }
        url.port = *port;
        authority = authority.substr(0, colon);
    }
    const auto host = core::Host::parse(authority);
    if (!host) {
        return std::nullopt;
    }
    url.host = host->to_lookup();
    return url;
}

}  // namespace llmproxy::cli
