#pragma once

#include <array>
#include <string_view>
#include <utility>

namespace llmproxy::telemetry {

/// The version of OpenTelemetry's semantic conventions that metrics and spans follow.
inline constexpr std::string_view kSemanticConventions = "1.37.0";

/// `gen_ai.operation.name` of a route's word; empty for routes that ask no model.
[[nodiscard]] constexpr std::string_view gen_ai_operation(std::string_view route) noexcept
{
    using Row = std::pair<std::string_view, std::string_view>;
    constexpr std::array kRows{
        Row{"chat_completions", "chat"},
        Row{"completions", "text_completion"},
        Row{"embeddings", "embeddings"},
        Row{"responses", "chat"},
    };
    for (const auto& [word, name] : kRows) {
        if (word == route) {
            return name;
        }
    }
    return {};
}

}  // namespace llmproxy::telemetry
