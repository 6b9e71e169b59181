#include "llmproxy/core/error_body.hpp"

#include <gtest/gtest.h>

namespace llmproxy::core {
namespace {

TEST(ErrorBody, HasOpenAisShapeWithoutDetail)
{
    Failure failure(Errc::model_not_found, Origin::client, "secret detail");
    failure.say("No \"x\".").at("mo\"del");
    EXPECT_EQ(
        error_body(failure),
        R"({"error":{"message":"No \"x\".","type":"invalid_request_error","param":"mo\"del","code":"model_not_found"}})");
}

TEST(ErrorBody, SaysTheTablesMessageAndNullWithoutAParam)
{
    const Failure failure(Errc::upstream_timeout, Origin::upstream, "10.0.0.1:443");
    EXPECT_EQ(
        error_body(failure),
        R"({"error":{"message":"The upstream did not answer in time.","type":"timeout_error","param":null,"code":"upstream_timeout"}})");
}

}  // namespace
}  // namespace llmproxy::core
