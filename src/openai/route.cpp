#include "llmproxy/openai/route.hpp"

#include <array>
#include <utility>

namespace llmproxy::openai {

Route route_of(std::string_view path) noexcept
{
    constexpr std::string_view kBase = "/v1/";
    constexpr std::array<std::pair<std::string_view, Route>, 6> kRoutes{{
        {"chat/completions", Route::chat_completions},
        {"completions", Route::completions},
        {"embeddings", Route::embeddings},
        {"responses", Route::responses},
        {"models", Route::models},
        {"realtime", Route::realtime},
    }};
    if (!path.starts_with(kBase)) {
        return Route::other;
    }
    path.remove_prefix(kBase.size());
    for (const auto& [name, route] : kRoutes) {
        if (path == name) {
            return route;
        }
    }
    constexpr std::string_view kOneModel = "models/";
    return path.starts_with(kOneModel) && path.size() > kOneModel.size() ? Route::models
                                                                         : Route::other;
}

std::string_view to_string(Route route) noexcept
{
    switch (route) {
    case Route::chat_completions: return "chat_completions";
    case Route::completions: return "completions";
    case Route::embeddings: return "embeddings";
    case Route::responses: return "responses";
    case Route::models: return "models";
    case Route::realtime: return "realtime";
    case Route::other: break;
    }
    return "other";
}

}  // namespace llmproxy::openai
