#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace llmproxy::core {

/// What went wrong, as far as anyone outside has to know. One row of `error_info` each.
enum class Errc : std::uint8_t {
    none,
    bad_request,
    invalid_api_key,
    content_policy_violation,
    model_not_allowed,
    destination_not_allowed,
    route_not_allowed,
    model_not_found,
    not_found,
    method_not_allowed,
    conflict,
    precondition_failed,
    precondition_required,
    proxy_auth_required,
    request_timeout,
    request_too_large,
    unsupported_encoding,
    unsupported_media_type,
    rate_limit_exceeded,
    insufficient_quota,
    headers_too_large,
    client_gone,
    upstream_connect_failed,
    upstream_tls_failed,
    upstream_reset,
    upstream_bad_response,
    upstream_credentials_rejected,
    overloaded,
    draining,
    circuit_open,
    store_unavailable,
    upstream_timeout,
    loop_detected,
    cancelled,
    internal,
};

/// Who caused a failure: the caller, the upstream, or this program.
enum class Origin : std::uint8_t { client, upstream, self };

/// How an error of ours looks from outside (DESIGN's error table is this table).
struct ErrorInfo {
    Errc errc;
    std::uint16_t status;      ///< HTTP status; 499 is for logs only
    std::string_view type;     ///< OpenAI's `error.type`
    std::string_view code;     ///< OpenAI's `error.code`, also the outcome word in logs and metrics
    std::string_view message;  ///< default text; never names backends or detail
    bool close;                ///< the connection cannot be used for another request
    bool retry_after;          ///< carries Retry-After
};

/// The row of `errc`. Never fails: an unknown value gets the row of `internal`.
[[nodiscard]] const ErrorInfo& error_info(Errc errc) noexcept;

/// Why an operation failed. Default-constructed it means "no failure".
///
/// `detail` is for logs only; bodies sent to clients carry `message`.
class Failure {
public:
    Failure() noexcept = default;
    Failure(Errc errc, Origin origin, std::string detail = {}, boost::system::error_code cause = {})
        : errc_(errc), origin_(origin), cause_(cause), detail_(std::move(detail))
    {
    }

    [[nodiscard]] Errc errc() const noexcept { return errc_; }
    [[nodiscard]] Origin origin() const noexcept { return origin_; }
    [[nodiscard]] const boost::system::error_code& cause() const noexcept { return cause_; }
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
    [[nodiscard]] const ErrorInfo& info() const noexcept { return error_info(errc_); }

    /// Text for the client in place of the table's; must hold no secret and no backend name.
    Failure& say(std::string message)
    {
        message_ = std::move(message);
        return *this;
    }
    /// `error.param` of the answer: the field of the request that was wrong.
    Failure& at(std::string param)
    {
        param_ = std::move(param);
        return *this;
    }
    [[nodiscard]] std::string_view message() const noexcept
    {
        return message_.empty() ? info().message : std::string_view(message_);
    }
    [[nodiscard]] const std::string& param() const noexcept { return param_; }

    /// One line for logs: code, detail, cause.
    [[nodiscard]] std::string describe() const;

private:
    Errc errc_ = Errc::none;
    Origin origin_ = Origin::self;
    boost::system::error_code cause_;
    std::string detail_;
    std::string message_;
    std::string param_;
};

template <typename T>
using Result = boost::system::result<T, Failure>;

[[noreturn]] void throw_exception_from_error(const Failure& failure, const boost::source_location&);

}  // namespace llmproxy::core
