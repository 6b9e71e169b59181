#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/host.hpp"
#include "llmproxy/http/head.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace llmproxy::http {

/// The two parts of an origin-form request target (RFC 9112, section 3.2.1); views into what was parsed.
struct Target {
    std::string_view path;   ///< begins with `/`
    std::string_view query;  ///< without the `?`; empty if there is none
    bool has_query = false;  ///< tells `/x?` from `/x`
};

/// Splits a target and refuses every path that two programs could read differently: dot segments (also encoded
/// or followed by `;`), encoded slashes and backslashes, backslash, `//`, broken percent escapes, encoded control
/// characters. Path and query must be printable ASCII without `#`. The query is otherwise left alone.
/// Fails with Errc::bad_request. Does not allocate when it succeeds.
[[nodiscard]] core::Result<Target> parse_origin_form(std::string_view target);

/// The four forms of a request target (RFC 9112, section 3.2).
enum class TargetForm : std::uint8_t { origin, absolute, authority, asterisk };

/// Which form a target claims to have; CONNECT always means authority. Looks at its beginning only:
/// the parser of that form decides whether it is right.
[[nodiscard]] TargetForm form_of(Verb verb, std::string_view target) noexcept;

/// Where a CONNECT or an absolute-form request goes. The host is normalised: see core::Host.
class Authority {
public:
    Authority(core::Host the_host, std::uint16_t the_port)
        : host(std::move(the_host)), port(the_port)
    {
    }

    /// `host:port`, IPv6 in brackets.
    [[nodiscard]] std::string to_string() const;

    core::Host host;
    std::uint16_t port;
};

/// Reads the target of CONNECT: host and port, both needed, nothing else (RFC 9110, section 9.3.6;
/// RFC 9112, section 3.2.3). Fails with Errc::bad_request, the reason in message and detail.
[[nodiscard]] core::Result<Authority> parse_authority_form(std::string_view target);

/// An absolute-form target taken apart (RFC 9112, section 3.2.2). `rest` is a view into what was
/// parsed.
class AbsoluteTarget {
public:
    AbsoluteTarget(Authority where, std::string_view path_and_query, bool is_asterisk)
        : authority(std::move(where)), rest(path_and_query), asterisk(is_asterisk)
    {
    }

    /// Appends the target to send to the origin: `rest` with `/` before it if it has no path
    /// (RFC 9112, section 3.2.1), or `*`.
    void append_origin_target(std::string& out) const;
    /// The Host field to send, in place of the one received (RFC 9112, section 3.2.2): the port is
    /// left out when it is 80.
    [[nodiscard]] std::string host_field() const;

    Authority authority;  ///< port 80 if the target has none
    std::string_view
        rest;       ///< path and query as received, perhaps empty; paths are the origin's affair
    bool asterisk;  ///< OPTIONS without path and query: about the whole origin (section 3.2.4)
};

/// Reads `http://host[:port][/path][?query]`. Refused: other schemes (https belongs into CONNECT),
/// user information (RFC 9110, section 4.2.4), an empty host or port, characters that are not
/// printable ASCII, `#`. Fails with Errc::bad_request, the reason in message and detail.
[[nodiscard]] core::Result<AbsoluteTarget> parse_absolute_form(Verb verb, std::string_view target);

}  // namespace llmproxy::http
