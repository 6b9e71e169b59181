#include "llmproxy/policy/destination_policy.hpp"

#include <algorithm>
#include <string>

namespace llmproxy::policy {
namespace {

using core::HostPattern;
using core::IpAddress;
using Ports = std::vector<std::uint16_t>;

constexpr IpAddress kAnyV4(IpAddress::V4Bytes{0, 0, 0, 0});
constexpr IpAddress kAnyV6(IpAddress::V6Bytes{});
constexpr IpAddress kLoopbackV4(IpAddress::V4Bytes{127, 0, 0, 1});
constexpr IpAddress kLoopbackV6(IpAddress::V6Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

enum class Match : std::uint8_t { none, host_only, full };

Match match(std::span<const HostPattern> patterns, const core::Host& host, std::uint16_t port,
            const Ports& usual_ports) noexcept
{
    auto best = Match::none;
    for (const auto& pattern : patterns) {
        if (!pattern.covers(host)) {
            continue;
        }
        const auto named = pattern.port();
        if (named ? *named == port
                  : std::find(usual_ports.begin(), usual_ports.end(), port) != usual_ports.end()) {
            return Match::full;
        }
        best = Match::host_only;
    }
    return best;
}

/// Whether a connection to `address` arrives at a socket bound to `bound`.
bool arrives_at(const IpAddress& bound, const IpAddress& address,
                std::span<const IpAddress> local) noexcept
{
    // Linux takes the unspecified address as a destination for loopback.
    auto target = address;
    if (address == kAnyV4 || address == kAnyV6) {
        target = address.is_v4() ? kLoopbackV4 : kLoopbackV6;
    }
    if (bound != kAnyV4 && bound != kAnyV6) {
        return target == bound;
    }
    if (bound == kAnyV4 && target.is_v6()) {
        return false;
    }
    return classify(target) == AddressClass::loopback ||
           classify(target) == AddressClass::unspecified ||
           std::find(local.begin(), local.end(), target) != local.end();
}

}  // namespace

std::string_view to_text(DestinationRule rule) noexcept
{
    switch (rule) {
    case DestinationRule::allowed: return "allowed";
    case DestinationRule::destination_not_listed: return "destination_not_listed";
    case DestinationRule::port_not_allowed: return "port_not_allowed";
    case DestinationRule::token_not_allowed: return "token_not_allowed";
    case DestinationRule::own_listener: return "own_listener";
    case DestinationRule::address_not_public: return "address_not_public";
    }
    return "destination_not_listed";
}

bool OwnListeners::has_port(std::uint16_t port) const noexcept
{
    return std::any_of(entries_.begin(), entries_.end(),
                       [port](const Entry& entry) { return entry.port == port; });
}

bool OwnListeners::is_own(const IpAddress& address, std::uint16_t port,
                          std::span<const IpAddress> local) const noexcept
{
    const auto plain = address.unmapped();
    const auto inner = embedded_v4(plain);
    return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
        const auto bound = entry.address.unmapped();
        return entry.port == port &&
               (arrives_at(bound, plain, local) || (inner && arrives_at(bound, *inner, local)));
    });
}

core::Result<DestinationPolicy> DestinationPolicy::make(const DestinationSettings& settings)
{
    DestinationPolicy policy;
    for (const auto& text : settings.allow) {
        auto pattern = HostPattern::parse(text);
        if (!pattern) {
            return pattern.error();
        }
        policy.allow_.push_back(std::move(*pattern));
    }
    for (const auto& text : settings.allow_private) {
        const auto block = core::IpBlock::parse(text);
        if (!block) {
            return core::Failure(core::Errc::bad_request, core::Origin::self,
                                 "not an address or CIDR block: " + text);
        }
        policy.allow_private_.push_back(*block);
    }
    policy.connect_ports_ = settings.connect_ports;
    policy.http_ports_ = settings.http_ports;
    return policy;
}

DestinationRule
DestinationPolicy::check_host(const core::Host& host, std::uint16_t port, DestinationUse use,
                              const std::vector<HostPattern>* token_hosts) const noexcept
{
    const auto& usual = use == DestinationUse::connect ? connect_ports_ : http_ports_;
    switch (match(allow_, host, port, usual)) {
    case Match::none: return DestinationRule::destination_not_listed;
    case Match::host_only: return DestinationRule::port_not_allowed;
    case Match::full: break;
    }
    if (token_hosts != nullptr && match(*token_hosts, host, port, usual) != Match::full) {
        return DestinationRule::token_not_allowed;
    }
    return DestinationRule::allowed;
}

DestinationPolicy::AddressVerdict
DestinationPolicy::check_address(const IpAddress& address, std::uint16_t port,
                                 const OwnListeners& own,
                                 std::span<const IpAddress> local) const noexcept
{
    AddressVerdict verdict;
    verdict.address_class = classify(address);
    if (own.is_own(address, port, local)) {
        verdict.rule = DestinationRule::own_listener;
    } else if (verdict.address_class != AddressClass::global &&
               std::none_of(allow_private_.begin(), allow_private_.end(),
                            [&](const auto& block) { return block.contains(address); })) {
        verdict.rule = DestinationRule::address_not_public;
    }
    return verdict;
}

}  // namespace llmproxy::policy
