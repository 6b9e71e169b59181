#pragma once

#include "llmproxy/core/failure.hpp"

#include <string_view>

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

}  // namespace llmproxy::http
