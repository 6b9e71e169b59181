#pragma once

#include "llmproxy/config/load.hpp"

#include <set>
#include <string>
#include <string_view>

namespace llmproxy::config {

/// A scalar after `${VAR}` and `${VAR:-default}` were replaced. `$${` stands for `${` itself.
struct Expanded {
    std::string text;
    std::set<std::string> names;  ///< variables that were referred to
    std::string unset;            ///< the first one that is unset and has no default
    bool malformed = false;       ///< `${` without `}` or around something that is no name
};

/// An unset variable without a default becomes empty text. The default is taken for a variable that
/// is unset or empty; it is not expanded itself.
[[nodiscard]] Expanded expand(std::string_view text, const Environment& environment);

}  // namespace llmproxy::config
