#include "llmproxy/core/host.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace llmproxy::core {
namespace {

constexpr std::size_t kMaxName = 253;
constexpr std::size_t kMaxLabel = 63;

Failure malformed(const char* reason)
{
    Failure failure(Errc::bad_request, Origin::client, reason);
    failure.say(std::string("The host is malformed: ") + reason + ".");
    return failure;
}

constexpr bool is_digit(char c) noexcept
{
    return c >= '0' && c <= '9';
}

constexpr bool is_label_char(char c) noexcept
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

const char* wrong_label(std::string_view label) noexcept
{
    if (label.empty()) {
        return "a label is empty";
    }
    if (label.size() > kMaxLabel) {
        return "a label is longer than 63 characters";
    }
    if (label.front() == '-' || label.back() == '-') {
        return "a label begins or ends with a hyphen";
    }
    return std::all_of(label.begin(), label.end(), is_label_char)
               ? nullptr
               : "it has a character that no host name may have";
}

const char* wrong_name(std::string_view name) noexcept
{
    for (;;) {
        const auto dot = name.find('.');
        if (const char* const wrong = wrong_label(name.substr(0, dot))) {
            return wrong;
        }
        if (dot == std::string_view::npos) {
            return nullptr;
        }
        name.remove_prefix(dot + 1);
    }
}

/// Whether a resolver would try to read the name as a number (WHATWG URL, "ends in a number").
bool ends_in_number(std::string_view name) noexcept
{
    const auto dot = name.rfind('.');
    const auto label = dot == std::string_view::npos ? name : name.substr(dot + 1);
    const auto digits = label.starts_with("0x") ? label.substr(2) : label;
    const bool hex = digits.size() != label.size();
    return std::all_of(digits.begin(), digits.end(),
                       [hex](char c) { return is_digit(c) || (hex && c >= 'a' && c <= 'f'); });
}

Result<Host> parse_literal(std::string_view text)
{
    if (text.back() != ']') {
        return malformed("a bracket is not closed");
    }
    const auto inner = text.substr(1, text.size() - 2);
    if (inner.find('%') != std::string_view::npos) {
        return malformed("an address with a zone");
    }
    const auto address = IpAddress::parse(inner);
    if (!address || address->is_v4()) {
        return malformed("the brackets hold no IPv6 address");
    }
    return Host(*address);
}

}  // namespace

Result<Host> Host::parse(std::string_view text)
{
    if (text.empty()) {
        return malformed("it is empty");
    }
    if (text.front() == '[') {
        return parse_literal(text);
    }
    if (text.ends_with('.')) {
        text.remove_suffix(1);
    }
    if (text.size() > kMaxName) {
        return malformed("it is longer than 253 characters");
    }
    std::string name(text);
    for (char& c : name) {
        if (static_cast<unsigned char>(c) > 0x7f) {
            return malformed("an international name must be in its ASCII form (xn--)");
        }
        c = lower(c);
    }
    if (const char* const wrong = wrong_name(name)) {
        return malformed(wrong);
    }
    if (ends_in_number(name)) {
        const auto address = IpAddress::parse_any_v4(name);
        return address ? Result<Host>(Host(*address))
                       : Result<Host>(malformed("it ends in a number but is no IPv4 address"));
    }
    return Host(std::move(name));
}

std::string Host::to_string() const
{
    return address_ && address_->is_v6() ? "[" + address_->to_string() + "]" : to_lookup();
}

std::string Host::to_lookup() const
{
    return address_ ? address_->to_string() : name_;
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept
{
    std::uint16_t port = 0;
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    const bool whole = error == std::errc() && stop == end;
    return whole && text.front() != '0' ? std::optional(port) : std::nullopt;
}

Result<HostPattern> HostPattern::parse(std::string_view text)
{
    const auto refused = [](std::string expected) {
        return Failure(Errc::bad_request, Origin::self, std::move(expected));
    };
    auto host_text = text;
    std::optional<std::uint16_t> port;
    const auto bracket = text.rfind(']');
    const auto colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
    const auto bare = IpAddress::parse(text);
    if (bare && bare->is_v6()) {
        return HostPattern(Kind::exact, Host(*bare), std::nullopt);
    }
    if (colon != std::string_view::npos) {
        host_text = text.substr(0, colon);
        port = parse_port(text.substr(colon + 1));
        if (!port) {
            return refused("a port from 1 to 65535 after the colon (IPv6 addresses in brackets)");
        }
    }
    if (host_text == "*") {
        return HostPattern(Kind::any, std::nullopt, port);
    }
    const bool below = host_text.starts_with("*.");
    const auto host = Host::parse(below ? host_text.substr(2) : host_text);
    if (host_text.find('*', below ? 1 : 0) != std::string_view::npos) {
        return refused("'*' alone or as the whole first label, as in *.example.com");
    }
    if (!host) {
        return refused("host[:port], *.domain[:port], address or [IPv6 address]; " +
                       host.error().detail());
    }
    if (below && host->address()) {
        return refused("a name after '*.', not an address");
    }
    return HostPattern(below ? Kind::below : Kind::exact, *host, port);
}

bool HostPattern::covers(const Host& host) const noexcept
{
    switch (kind_) {
    case Kind::any: return true;
    case Kind::exact: return *host_ == host;
    case Kind::below: break;
    }
    const std::string_view name = host.name();
    const std::string_view domain = host_->name();
    return name.size() > domain.size() + 1 && name.ends_with(domain) &&
           name[name.size() - domain.size() - 1] == '.';
}

bool HostPattern::is_within(const HostPattern& other) const noexcept
{
    if (port_ != other.port_) {
        return false;
    }
    switch (kind_) {
    case Kind::any: return other.kind_ == Kind::any;
    case Kind::exact: return other.covers(*host_);
    case Kind::below: break;
    }
    return other.kind_ == Kind::any ||
           (other.kind_ == Kind::below && (*host_ == *other.host_ || other.covers(*host_)));
}

}  // namespace llmproxy::core
