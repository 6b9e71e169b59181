#include "llmproxy/openai/errors.hpp"

#include <gtest/gtest.h>

namespace llmproxy::openai {
namespace {

TEST(Errors, HaveOpenAisShapeWithoutDetail)
{
    core::Failure failure(core::Errc::model_not_found, core::Origin::client, "secret detail");
    failure.say("No \"x\".").at("model");
    EXPECT_EQ(
        error_body(failure),
        R"({"error":{"message":"No \"x\".","type":"invalid_request_error","param":"model","code":"model_not_found"}})");
    const core::Failure reset(core::Errc::upstream_reset, core::Origin::upstream);
    EXPECT_EQ(stream_error_event(Route::chat_completions, reset),
              "data: " + error_body(reset) + "\n\n");
    EXPECT_NE(error_body(reset).find("\"param\":null"), std::string::npos);
}

TEST(Errors, UseTheResponsesApisOwnEvent)
{
    core::Failure failure(core::Errc::upstream_reset, core::Origin::upstream);
    failure.say("Cut.");
    EXPECT_EQ(stream_error_event(Route::responses, failure, 7),
              "event: error\ndata: "
              "{\"type\":\"error\",\"code\":\"upstream_reset\",\"message\":\"Cut.\",\"param\":null,"
              "\"sequence_number\":7}\n\n");
}

}  // namespace
}  // namespace llmproxy::openai
