#include "llmproxy/openai/route.hpp"

#include <gtest/gtest.h>

namespace llmproxy::openai {
namespace {

TEST(Route, KnowsTheInferencePathsExactly)
{
    EXPECT_EQ(route_of("/v1/chat/completions"), Route::chat_completions);
    EXPECT_EQ(route_of("/v1/completions"), Route::completions);
    EXPECT_EQ(route_of("/v1/embeddings"), Route::embeddings);
    EXPECT_EQ(route_of("/v1/responses"), Route::responses);
    EXPECT_EQ(route_of("/v1/models"), Route::models);
    EXPECT_EQ(route_of("/v1/models/gpt-4o"), Route::models);
    EXPECT_EQ(route_of("/v1/realtime"), Route::realtime);
    for (const auto* path :
         {"/v1", "/v1/", "/v1/models/", "/v1/responses/resp_1", "/v1/chat/completions/x",
          "/v2/chat/completions", "/v1/Completions", "", "/v1/files"}) {
        EXPECT_EQ(route_of(path), Route::other) << path;
    }
}

TEST(Route, SaysWhichBodiesAreRead)
{
    EXPECT_TRUE(is_inference(Route::responses));
    EXPECT_FALSE(is_inference(Route::models));
    EXPECT_TRUE(takes_stream_options(Route::completions));
    EXPECT_FALSE(takes_stream_options(Route::responses));
    EXPECT_EQ(to_string(Route::embeddings), "embeddings");
}

}  // namespace
}  // namespace llmproxy::openai
