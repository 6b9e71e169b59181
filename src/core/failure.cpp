#include "llmproxy/core/failure.hpp"

#include <array>
#include <stdexcept>

namespace llmproxy::core {
namespace {

constexpr std::string_view kInvalid = "invalid_request_error";
constexpr std::string_view kUpstream = "upstream_error";
constexpr std::string_view kTimeout = "timeout_error";
constexpr std::string_view kBusy = "server_overloaded";
constexpr std::string_view kPermission = "permission_error";

constexpr std::array kTable{
    ErrorInfo{Errc::none, 200, "", "ok", "", false, false},
    ErrorInfo{Errc::bad_request, 400, kInvalid, "bad_request", "The request is malformed.", true,
              false},
    ErrorInfo{Errc::invalid_api_key, 401, kInvalid, "invalid_api_key",
              "Missing or incorrect API key.", false, false},
    ErrorInfo{Errc::content_policy_violation, 400, kInvalid, "content_policy_violation",
              "The request was refused by policy.", false, false},
    ErrorInfo{Errc::model_not_allowed, 403, kPermission, "model_not_allowed",
              "This token may not use this model.", false, false},
    ErrorInfo{Errc::destination_not_allowed, 403, kPermission, "destination_not_allowed",
              "This destination is not allowed.", false, false},
    ErrorInfo{Errc::route_not_allowed, 403, kPermission, "route_not_allowed",
              "This token may not use this route.", false, false},
    ErrorInfo{Errc::model_not_found, 404, kInvalid, "model_not_found",
              "The model does not exist or no backend serves it.", false, false},
    ErrorInfo{Errc::not_found, 404, kInvalid, "not_found", "There is nothing at this path.", false,
              false},
    ErrorInfo{Errc::method_not_allowed, 405, kInvalid, "method_not_allowed",
              "This method is not served at this path.", false, false},
    ErrorInfo{Errc::conflict, 409, kInvalid, "conflict",
              "The change conflicts with something that exists.", false, false},
    ErrorInfo{Errc::precondition_failed, 412, kInvalid, "precondition_failed",
              "It was changed by somebody else in the meantime.", false, false},
    ErrorInfo{Errc::precondition_required, 428, kInvalid, "precondition_required",
              "This change needs If-Match with the ETag of what was read.", false, false},
    ErrorInfo{Errc::proxy_auth_required, 407, kInvalid, "proxy_authentication_required",
              "Missing or incorrect proxy credentials.", false, false},
    ErrorInfo{Errc::request_timeout, 408, kTimeout, "request_timeout",
              "The request was not received in time.", true, false},
    ErrorInfo{Errc::request_too_large, 413, kInvalid, "request_too_large",
              "The request body is larger than allowed.", false, false},
    ErrorInfo{Errc::unsupported_encoding, 415, kInvalid, "unsupported_encoding",
              "Encoded request bodies are not accepted on this route.", false, false},
    ErrorInfo{Errc::unsupported_media_type, 415, kInvalid, "unsupported_media_type",
              "The request body must be JSON (Content-Type: application/json).", false, false},
    ErrorInfo{Errc::rate_limit_exceeded, 429, "rate_limit_error", "rate_limit_exceeded",
              "The rate limit was reached.", false, true},
    ErrorInfo{Errc::insufficient_quota, 429, "insufficient_quota", "insufficient_quota",
              "The budget is spent.", false, false},
    ErrorInfo{Errc::headers_too_large, 431, kInvalid, "headers_too_large",
              "The request head is larger than allowed.", true, false},
    ErrorInfo{Errc::client_gone, 499, kInvalid, "client_gone", "The client closed the connection.",
              true, false},
    ErrorInfo{Errc::upstream_connect_failed, 502, kUpstream, "upstream_connect_failed",
              "The upstream could not be reached.", false, false},
    ErrorInfo{Errc::upstream_tls_failed, 502, kUpstream, "upstream_tls_failed",
              "No trusted TLS connection to the upstream could be made.", false, false},
    ErrorInfo{Errc::upstream_reset, 502, kUpstream, "upstream_reset",
              "The upstream closed the connection before its answer was complete.", false, false},
    ErrorInfo{Errc::upstream_bad_response, 502, kUpstream, "upstream_bad_response",
              "The upstream sent an invalid answer.", false, false},
    ErrorInfo{Errc::upstream_credentials_rejected, 502, kUpstream, "upstream_credentials_rejected",
              "The upstream refused the proxy's credentials.", false, false},
    ErrorInfo{Errc::overloaded, 503, kBusy, "overloaded",
              "The proxy is overloaded. Try again later.", false, true},
    ErrorInfo{Errc::draining, 503, kBusy, "draining", "The proxy is shutting down. Try again.",
              true, true},
    ErrorInfo{Errc::circuit_open, 503, kBusy, "circuit_open",
              "No healthy upstream is available. Try again later.", false, true},
    ErrorInfo{Errc::store_unavailable, 503, kBusy, "store_unavailable",
              "The proxy's store does not work at the moment. Try again later.", false, true},
    ErrorInfo{Errc::upstream_timeout, 504, kTimeout, "upstream_timeout",
              "The upstream did not answer in time.", false, false},
    ErrorInfo{Errc::loop_detected, 508, kInvalid, "loop_detected",
              "The request has already passed this proxy.", false, false},
    ErrorInfo{Errc::cancelled, 503, kBusy, "cancelled", "The request was cancelled.", true, false},
    ErrorInfo{Errc::internal, 500, "server_error", "internal_error",
              "The proxy failed to handle the request.", true, false},
};

constexpr bool rows_in_order()
{
    for (std::size_t i = 0; i < kTable.size(); ++i) {
        if (static_cast<std::size_t>(kTable[i].errc) != i) {
            return false;
        }
    }
    return true;
}
static_assert(rows_in_order());
static_assert(kTable.size() == static_cast<std::size_t>(Errc::internal) + 1);

}  // namespace

const ErrorInfo& error_info(Errc errc) noexcept
{
    const auto index = static_cast<std::size_t>(errc);
    return index < kTable.size() ? kTable[index] : kTable.back();
}

std::string Failure::describe() const
{
    std::string text(info().code);
    if (!detail_.empty()) {
        text += ": " + detail_;
    }
    if (cause_) {
        text += " (" + cause_.message() + ")";
    }
    return text;
}

void throw_exception_from_error(const Failure& failure, const boost::source_location&)
{
    throw std::logic_error("a failed result was read: " + failure.describe());
}

}  // namespace llmproxy::core
