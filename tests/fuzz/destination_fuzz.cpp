#include "llmproxy/core/host.hpp"
#include "llmproxy/http/target.hpp"
#include "llmproxy/policy/destination_policy.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

namespace core = llmproxy::core;
namespace http = llmproxy::http;
namespace policy = llmproxy::policy;
using core::IpAddress;

void check(bool holds)
{
    if (!holds) {
        std::abort();
    }
}

/// What the C library makes of a text; glibc's inet_aton stops at white space, ours must not.
bool is_inet_aton(const std::string& text)
{
    in_addr address{};
    return text.find_first_of(" \t\n\v\f\r") == std::string::npos &&
           text.find('\0') == std::string::npos && ::inet_aton(text.c_str(), &address) != 0;
}

void addresses(const std::string& text)
{
    const auto any = IpAddress::parse_any_v4(text);
    check(any.has_value() == is_inet_aton(text));
    if (any) {
        in_addr address{};
        check(::inet_aton(text.c_str(), &address) != 0);
        check(std::memcmp(&address, any->bytes().data(), sizeof address) == 0);
    }
    const auto usual = IpAddress::parse(text);
    check(!usual || IpAddress::parse(usual->to_string()) == *usual);
    check(!usual || usual->is_v6() || any == usual);
    if (const auto block = core::IpBlock::parse(text)) {
        check(block->contains(block->base()));
    }
}

void classes(std::string_view bytes)
{
    IpAddress::V6Bytes v6{};
    if (bytes.size() < v6.size()) {
        return;
    }
    std::memcpy(v6.data(), bytes.data(), v6.size());
    const IpAddress address(v6);
    const auto found = policy::classify(address);
    check(!policy::to_text(found).empty());
    const IpAddress v4(IpAddress::V4Bytes{v6[12], v6[13], v6[14], v6[15]});
    IpAddress::V6Bytes mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::copy(v6.begin() + 12, v6.end(), mapped.begin() + 12);
    check(policy::classify(IpAddress(mapped)) == policy::classify(v4));
    if (const auto inner = policy::embedded_v4(address);
        inner && found == policy::AddressClass::global) {
        check(policy::classify(*inner) == policy::AddressClass::global);
    }
}

void host_is_normal(const core::Host& host)
{
    const auto again = core::Host::parse(host.to_string());
    check(again && *again == host);
    check(host.address().has_value() == host.name().empty());
    if (host.address()) {
        check(host.address()->unmapped() == *host.address());
        return;
    }
    const auto& name = host.name();
    check(name.size() <= 253 && !name.ends_with('.'));
    check(std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    }));
    // No name may be an address for whoever resolves it.
    check(!is_inet_aton(name) && !IpAddress::parse(name));
}

void targets(std::string_view text)
{
    if (const auto authority = http::parse_authority_form(text)) {
        host_is_normal(authority->host);
        const auto again = http::parse_authority_form(authority->to_string());
        check(again && again->host == authority->host && again->port == authority->port);
    }
    for (const auto verb : {http::Verb::get, http::Verb::options}) {
        const auto absolute = http::parse_absolute_form(verb, text);
        if (!absolute) {
            continue;
        }
        host_is_normal(absolute->authority.host);
        std::string origin;
        absolute->append_origin_target(origin);
        check(origin == "*" || origin.front() == '/');
        check(
            std::all_of(origin.begin(), origin.end(), [](char c) { return c > ' ' && c < 0x7f; }));
        const auto again = http::parse_absolute_form(verb, "http://" + absolute->host_field() +
                                                               (absolute->asterisk ? "" : origin));
        check(again && again->authority.host == absolute->authority.host &&
              again->authority.port == absolute->authority.port);
    }
}

}  // namespace

/// Targets, hosts, addresses and patterns of the forward proxy: what is accepted is in one form,
/// and no accepted name is an address for the C library.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string text(reinterpret_cast<const char*>(data), size);
    addresses(text);
    classes(text);
    targets(text);
    const auto host = core::Host::parse(text);
    if (host) {
        host_is_normal(*host);
    }
    // Two lines: a pattern and a host.
    const auto line = text.find('\n');
    const auto pattern = core::HostPattern::parse(text.substr(0, line));
    const auto other = line == std::string::npos ? host : core::Host::parse(text.substr(line + 1));
    if (pattern && other && pattern->covers(*other) && other->address()) {
        check(text.front() != '*' || text.substr(0, 2) != "*.");
    }
    return 0;
}
