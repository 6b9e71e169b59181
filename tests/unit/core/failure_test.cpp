#include "llmproxy/core/failure.hpp"

#include <gtest/gtest.h>
#include <set>

namespace llmproxy::core {
namespace {

struct Row {
    Errc errc;
    int status;
    std::string_view type;
    std::string_view code;
};

/// What clients are promised: status, `error.type`, `error.code`.
constexpr Row kContract[] = {
    {Errc::bad_request, 400, "invalid_request_error", "bad_request"},
    {Errc::invalid_api_key, 401, "invalid_request_error", "invalid_api_key"},
    {Errc::content_policy_violation, 400, "invalid_request_error", "content_policy_violation"},
    {Errc::model_not_allowed, 403, "permission_error", "model_not_allowed"},
    {Errc::destination_not_allowed, 403, "permission_error", "destination_not_allowed"},
    {Errc::route_not_allowed, 403, "permission_error", "route_not_allowed"},
    {Errc::model_not_found, 404, "invalid_request_error", "model_not_found"},
    {Errc::conflict, 409, "invalid_request_error", "conflict"},
    {Errc::precondition_failed, 412, "invalid_request_error", "precondition_failed"},
    {Errc::precondition_required, 428, "invalid_request_error", "precondition_required"},
    {Errc::unsupported_media_type, 415, "invalid_request_error", "unsupported_media_type"},
    {Errc::proxy_auth_required, 407, "invalid_request_error", "proxy_authentication_required"},
    {Errc::request_timeout, 408, "timeout_error", "request_timeout"},
    {Errc::request_too_large, 413, "invalid_request_error", "request_too_large"},
    {Errc::unsupported_encoding, 415, "invalid_request_error", "unsupported_encoding"},
    {Errc::rate_limit_exceeded, 429, "rate_limit_error", "rate_limit_exceeded"},
    {Errc::insufficient_quota, 429, "insufficient_quota", "insufficient_quota"},
    {Errc::headers_too_large, 431, "invalid_request_error", "headers_too_large"},
    {Errc::upstream_connect_failed, 502, "upstream_error", "upstream_connect_failed"},
    {Errc::upstream_tls_failed, 502, "upstream_error", "upstream_tls_failed"},
    {Errc::upstream_reset, 502, "upstream_error", "upstream_reset"},
    {Errc::upstream_bad_response, 502, "upstream_error", "upstream_bad_response"},
    {Errc::upstream_credentials_rejected, 502, "upstream_error", "upstream_credentials_rejected"},
    {Errc::overloaded, 503, "server_overloaded", "overloaded"},
    {Errc::draining, 503, "server_overloaded", "draining"},
    {Errc::circuit_open, 503, "server_overloaded", "circuit_open"},
    {Errc::store_unavailable, 503, "server_overloaded", "store_unavailable"},
    {Errc::upstream_timeout, 504, "timeout_error", "upstream_timeout"},
    {Errc::loop_detected, 508, "invalid_request_error", "loop_detected"},
};

TEST(ErrorTable, KeepsTheContractWithClients)
{
    for (const Row& row : kContract) {
        const ErrorInfo& info = error_info(row.errc);
        EXPECT_EQ(info.errc, row.errc) << row.code;
        EXPECT_EQ(info.status, row.status) << row.code;
        EXPECT_EQ(info.type, row.type) << row.code;
        EXPECT_EQ(info.code, row.code);
    }
}

TEST(ErrorTable, EveryCodeIsUniqueAndEveryErrorHasAMessage)
{
    std::set<std::string_view> codes;
    for (int i = 0; i <= static_cast<int>(Errc::internal); ++i) {
        const ErrorInfo& info = error_info(static_cast<Errc>(i));
        EXPECT_TRUE(codes.insert(info.code).second) << info.code;
        EXPECT_EQ(info.message.empty(), info.errc == Errc::none) << info.code;
    }
}

TEST(ErrorTable, UnknownValueIsAnInternalError)
{
    EXPECT_EQ(error_info(static_cast<Errc>(255)).errc, Errc::internal);
    EXPECT_EQ(error_info(Errc::internal).status, 500);
}

TEST(ErrorTable, BusyAnswersCarryRetryAfter)
{
    for (const Errc errc : {Errc::overloaded, Errc::draining, Errc::circuit_open,
                            Errc::store_unavailable, Errc::rate_limit_exceeded}) {
        EXPECT_TRUE(error_info(errc).retry_after) << error_info(errc).code;
    }
    EXPECT_FALSE(error_info(Errc::insufficient_quota).retry_after);
}

TEST(ErrorTable, UnframeableRequestsCloseTheConnection)
{
    for (const Errc errc : {Errc::bad_request, Errc::request_timeout, Errc::headers_too_large}) {
        EXPECT_TRUE(error_info(errc).close) << error_info(errc).code;
    }
    EXPECT_FALSE(error_info(Errc::invalid_api_key).close);
}

TEST(Failure, DefaultIsNoFailure)
{
    const Failure none;
    EXPECT_EQ(none.errc(), Errc::none);
    EXPECT_EQ(none.describe(), "ok");
}

TEST(Failure, DescribesCodeDetailAndCauseForLogs)
{
    const auto refused =
        boost::system::errc::make_error_code(boost::system::errc::connection_refused);
    const Failure failure(Errc::upstream_connect_failed, Origin::upstream, "10.0.0.1:443", refused);
    EXPECT_EQ(failure.describe(),
              "upstream_connect_failed: 10.0.0.1:443 (" + refused.message() + ")");
    EXPECT_EQ(failure.origin(), Origin::upstream);
    EXPECT_EQ(failure.cause(), refused);
}

TEST(Failure, DetailNeverReachesTheMessage)
{
    const Failure failure(Errc::internal, Origin::self, "backend-7 at 10.0.0.1");
    EXPECT_EQ(failure.message().find("backend-7"), std::string_view::npos);
    EXPECT_EQ(failure.message(), error_info(Errc::internal).message);
}

TEST(Failure, SayReplacesTheMessageAndAtNamesTheField)
{
    Failure failure(Errc::bad_request, Origin::client);
    failure.say("The field is given twice.").at("model");
    EXPECT_EQ(failure.message(), "The field is given twice.");
    EXPECT_EQ(failure.param(), "model");
}

TEST(Result, ReadingAFailedResultIsABugAndThrows)
{
    const Result<int> failed = Failure(Errc::overloaded, Origin::self);
    EXPECT_THROW(static_cast<void>(failed.value()), std::logic_error);
    EXPECT_EQ(failed.error().errc(), Errc::overloaded);
    const Result<int> good = 3;
    EXPECT_EQ(good.value(), 3);
}

}  // namespace
}  // namespace llmproxy::core
