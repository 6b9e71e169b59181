#include "support/manage_api.hpp"

#include <stdexcept>

namespace llmproxy::test {
namespace {

nlohmann::json success(const Response& response)
{
    if (response.status < 200 || response.status > 299) {
        throw std::runtime_error("refused: " + response.head.start_line + " " + response.body);
    }
    return nlohmann::json::parse(response.body);
}

std::string if_match_line(std::string_view value)
{
    return value.empty() ? "" : "If-Match: " + std::string(value) + "\r\n";
}

}  // namespace

GatewayConfig managed(const std::string& url, const std::string& store, std::string_view key)
{
    GatewayConfig config(url);
    config.listen("    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, health] }\n"
                  "    - { name: ops, address: \"127.0.0.1:0\", serve: [metrics, health] }\n"
                  "    - { name: admin, address: \"127.0.0.1:0\", serve: [admin] }\n");
    config.set("management", "{ token: " + std::string(kAdminToken) +
                                 ", tokens: [ { name: viewer, token: " + std::string(kViewerToken) +
                                 ", role: viewer } ] }");
    if (!store.empty()) {
        config.set("store",
                   "{ path: \"" + store + "\"" +
                       (key.empty() ? "" : ", encryption_key: \"" + std::string(key) + "\"") +
                       " }");
    }
    return config;
}

Response ManageApi::ask(std::string_view method, std::string_view target, std::string_view body,
                        std::string_view fields) const
{
    std::string request(method);
    request.append(" ").append(target).append(" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    if (!token_.empty()) {
        request += "Authorization: Bearer " + token_ + "\r\n";
    }
    request.append(fields);
    if (!body.empty()) {
        if (!has_text(fields, "Content-Type")) {
            request += "Content-Type: application/json\r\n";
        }
        request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    }
    request.append("\r\n").append(body);
    auto client = proxy_.connect("admin");
    client.send(request);
    return client.response(method == "HEAD");
}

Response ManageApi::patch(std::string_view target, std::string_view body,
                          std::string_view if_match) const
{
    return ask("PATCH", target, body, if_match_line(if_match));
}

Response ManageApi::put(std::string_view target, std::string_view body,
                        std::string_view if_match) const
{
    return ask("PUT", target, body, if_match_line(if_match));
}

nlohmann::json ManageApi::read(std::string_view target) const
{
    return success(get(target));
}

nlohmann::json ManageApi::make(std::string_view target, const nlohmann::json& body) const
{
    return success(post(target, body.is_null() ? std::string() : body.dump()));
}

std::string error_param(const Response& response)
{
    const auto parsed = nlohmann::json::parse(response.body, nullptr, false);
    const bool error = parsed.is_object() && parsed.contains("error");
    return error && parsed["error"]["param"].is_string() ? parsed["error"]["param"] : "";
}

}  // namespace llmproxy::test
