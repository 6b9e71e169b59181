#pragma once

#include "support/proxy_under_test.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace llmproxy::test {

inline constexpr std::string_view kAdminToken = "canary-admin-token-0123456789";
inline constexpr std::string_view kViewerToken = "canary-viewer-token-0123456789";
inline constexpr std::string_view kMasterKey =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A gateway with the management API on the listener `admin`, a backend `b1`, and tokens of an admin and a viewer.
/// \param store  path of the database; empty: none.
/// \param key    the master key; empty: none.
[[nodiscard]] GatewayConfig managed(const std::string& url, const std::string& store,
                                    std::string_view key = kMasterKey);

/// A client of the management API.
class ManageApi {
public:
    explicit ManageApi(const ProxyUnderTest& proxy, std::string_view token = kAdminToken)
        : proxy_(proxy), token_(token)
    {
    }

    /// One request on a connection of its own. `fields` are complete lines.
    Response ask(std::string_view method, std::string_view target, std::string_view body = {},
                 std::string_view fields = {}) const;
    Response get(std::string_view target) const { return ask("GET", target); }
    Response post(std::string_view target, std::string_view body = {}) const
    {
        return ask("POST", target, body);
    }
    Response patch(std::string_view target, std::string_view body,
                   std::string_view if_match = "*") const;
    Response put(std::string_view target, std::string_view body,
                 std::string_view if_match = "*") const;
    Response remove(std::string_view target) const { return ask("DELETE", target); }

    /// The body of a success; throws with the answer when it is none.
    nlohmann::json read(std::string_view target) const;
    nlohmann::json make(std::string_view target, const nlohmann::json& body) const;

private:
    const ProxyUnderTest& proxy_;
    std::string token_;
};

/// `error.param` of an answer; empty if it is null or no error.
[[nodiscard]] std::string error_param(const Response& response);

}  // namespace llmproxy::test
