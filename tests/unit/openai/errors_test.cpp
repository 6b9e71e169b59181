#include "llmproxy/openai/errors.hpp"

#include "llmproxy/core/error_body.hpp"

#include <gtest/gtest.h>

namespace llmproxy::openai {
namespace {

TEST(Errors, EndAStreamWithAnEventThatHoldsTheUsualBody)
{
    const core::Failure reset(core::Errc::upstream_reset, core::Origin::upstream);
    EXPECT_EQ(stream_error_event(Route::chat_completions, reset),
              "data: " + core::error_body(reset) + "\n\n");
}

TEST(Errors, UseTheResponsesApisOwnEvent)
{
    core::Failure failure(core::Errc::upstream_reset, core::Origin::upstream);
    failure.say("Cut.");
    EXPECT_EQ(stream_error_event(Route::responses, failure, 7),
              "event: error\ndata: "
              "{\"message\":\"Cut.\",\"type\":\"error\",\"param\":null,\"code\":\"upstream_reset\","
              "\"sequence_number\":7}\n\n");
}

}  // namespace
}  // namespace llmproxy::openai
