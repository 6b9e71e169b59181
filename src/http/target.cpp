#include "llmproxy/http/target.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <optional>

namespace llmproxy::http {
namespace {

constexpr std::uint16_t kHttpPort = 80;

core::Failure refused(const char* why)
{
    return {core::Errc::bad_request, core::Origin::client, why};
}

/// Refuses with a reason that the client may know: forward clients are told what was wrong with
/// their URI.
core::Failure explained(std::string reason)
{
    core::Failure failure(core::Errc::bad_request, core::Origin::client, reason);
    failure.say("The request target is malformed: " + std::move(reason) + ".");
    return failure;
}

bool is_plain(std::string_view target) noexcept
{
    return std::all_of(target.begin(), target.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte < 0x7f && c != '#';
    });
}

/// Splits `host[:port]`. Everything that is neither is left in the host, whose parser refuses it.
core::Result<Authority> parse_authority(std::string_view text,
                                        std::optional<std::uint16_t> default_port)
{
    if (text.find('@') != std::string_view::npos) {
        return explained("user information is not allowed");
    }
    const auto bracket = text.rfind(']');
    const auto colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
    const auto port =
        colon == std::string_view::npos ? default_port : core::parse_port(text.substr(colon + 1));
    if (!port) {
        return explained("it needs a port from 1 to 65535 (IPv6 addresses in brackets)");
    }
    auto host = core::Host::parse(text.substr(0, colon));
    if (!host) {
        return host.error();
    }
    return Authority(std::move(*host), *port);
}

/// Why `path` is refused, or nullptr. Counts dots per segment so that one pass is enough.
const char* wrong_path(std::string_view path) noexcept
{
    int dots = 0;           // of the segment so far
    bool only_dots = true;  // nothing but dots in it, up to a `;`
    bool ended = false;     // a `;` was seen in it
    for (std::size_t i = 1; i <= path.size(); ++i) {
        if (i == path.size() || path[i] == '/') {
            if (only_dots && (dots == 1 || dots == 2)) {
                return "path has a dot segment";
            }
            if (i < path.size() && path[i - 1] == '/') {
                return "path has an empty segment";
            }
            dots = 0;
            only_dots = true;
            ended = false;
            continue;
        }
        char c = path[i];
        if (c == '%') {
            const int high = i + 1 < path.size() ? core::hex_value(path[i + 1]) : -1;
            const int low = i + 2 < path.size() ? core::hex_value(path[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return "path has a broken percent escape";
            }
            const int value = high * 16 + low;
            if (value < 0x20 || value == 0x7f) {
                return "path has an encoded control character";
            }
            c = static_cast<char>(value);
            if (c == '/' || c == '\\') {
                return "path has an encoded slash";
            }
            i += 2;
        }
        if (c == '\\') {
            return "path has a backslash";
        }
        if (ended) {
            continue;
        }
        if (c == '.') {
            ++dots;
        } else if (c == ';') {
            ended = true;
        } else {
            only_dots = false;
        }
    }
    return nullptr;
}

}  // namespace

core::Result<Target> parse_origin_form(std::string_view target)
{
    if (target.empty() || target.front() != '/') {
        return refused("target is not in origin-form");
    }
    if (!is_plain(target)) {
        return refused("target has a character that must be encoded");
    }
    Target parts;
    const auto mark = target.find('?');
    parts.path = target.substr(0, mark);
    if (mark != std::string_view::npos) {
        parts.query = target.substr(mark + 1);
        parts.has_query = true;
    }
    if (const char* const wrong = wrong_path(parts.path)) {
        return refused(wrong);
    }
    return parts;
}

TargetForm form_of(Verb verb, std::string_view target) noexcept
{
    if (verb == Verb::connect) {
        return TargetForm::authority;
    }
    if (target.starts_with('/')) {
        return TargetForm::origin;
    }
    return target == "*" ? TargetForm::asterisk : TargetForm::absolute;
}

std::string Authority::to_string() const
{
    return host.to_string() + ":" + std::to_string(port);
}

core::Result<Authority> parse_authority_form(std::string_view target)
{
    return parse_authority(target, std::nullopt);
}

void AbsoluteTarget::append_origin_target(std::string& out) const
{
    if (asterisk) {
        out += '*';
        return;
    }
    if (!rest.starts_with('/')) {
        out += '/';
    }
    out += rest;
}

std::string AbsoluteTarget::host_field() const
{
    return authority.port == kHttpPort ? authority.host.to_string() : authority.to_string();
}

core::Result<AbsoluteTarget> parse_absolute_form(Verb verb, std::string_view target)
{
    if (!is_plain(target)) {
        return explained("it has a character that must be encoded");
    }
    const auto mark = target.find("://");
    if (mark == std::string_view::npos) {
        return explained("it is neither a path nor http://host/path");
    }
    const auto scheme = target.substr(0, mark);
    if (core::iequals(scheme, "https")) {
        return explained("https:// needs a tunnel; ask for it by CONNECT");
    }
    if (!core::iequals(scheme, "http")) {
        return explained("only http:// is forwarded");
    }
    const auto after = target.substr(mark + 3);
    const auto end = after.find_first_of("/?");
    auto authority = parse_authority(after.substr(0, end), kHttpPort);
    if (!authority) {
        return authority.error();
    }
    const auto rest = end == std::string_view::npos ? std::string_view() : after.substr(end);
    const bool asterisk = verb == Verb::options && rest.empty();
    return AbsoluteTarget(std::move(*authority), rest, asterisk);
}

}  // namespace llmproxy::http
