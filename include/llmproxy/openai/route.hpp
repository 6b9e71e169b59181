#pragma once

#include <cstdint>
#include <string_view>

namespace llmproxy::openai {

/// Which API a path below `/v1` belongs to, as far as the gateway treats them differently.
enum class Route : std::uint8_t {
    chat_completions,
    completions,
    embeddings,
    responses,
    models,  ///< `/v1/models` and `/v1/models/{id}`
    realtime,
    other,
};

/// The route of a path without its query. Paths with an id below `/v1/responses` are `other`.
[[nodiscard]] Route route_of(std::string_view path) noexcept;

/// The name for logs and metrics, e.g. `chat_completions`.
[[nodiscard]] std::string_view to_string(Route route) noexcept;

/// Routes whose JSON body is held whole and read: chat/completions, completions, embeddings, responses.
[[nodiscard]] constexpr bool is_inference(Route route) noexcept
{
    return route == Route::chat_completions || route == Route::completions ||
           route == Route::embeddings || route == Route::responses;
}

/// Routes whose streams tell usage only when asked by `stream_options.include_usage`.
[[nodiscard]] constexpr bool takes_stream_options(Route route) noexcept
{
    return route == Route::chat_completions || route == Route::completions;
}

}  // namespace llmproxy::openai
