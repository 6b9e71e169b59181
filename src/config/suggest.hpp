#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::config {

/// The one of `known` that `given` is most likely a slip of; empty when none is near.
[[nodiscard]] std::string nearest(std::string_view given, const std::vector<std::string>& known);

}  // namespace llmproxy::config
