#pragma once

#include "support/proxy_under_test.hpp"

#include <string>
#include <vector>

namespace llmproxy::test {

/// A daemon whose listener `main` serves the gateway and the forward proxy, `ops` the metrics; what listens on the given
/// ports of 127.0.0.1 may be reached.
inline GatewayConfig forward_config(const std::vector<std::uint16_t>& ports,
                                    const std::string& more = {})
{
    std::string allow;
    for (const auto port : ports) {
        allow += (allow.empty() ? "\"127.0.0.1:" : ", \"127.0.0.1:") + std::to_string(port) + "\"";
    }
    GatewayConfig config("mock");
    config.listen(
        "    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, forward, health] }\n"
        "    - { name: ops, address: \"127.0.0.1:0\", serve: [metrics, health] }\n");
    config.set("forward", "{ allow: [" + allow + "], allow_private: [\"127.0.0.0/8\"]" +
                              (more.empty() ? "" : ", " + more) + " }");
    return config;
}

inline std::string authority(std::uint16_t port)
{
    return "127.0.0.1:" + std::to_string(port);
}

inline std::string connect_request(const std::string& to, const std::string& more = {})
{
    return "CONNECT " + to + " HTTP/1.1\r\nHost: " + to + "\r\n" + more + "\r\n";
}

inline std::string connect_request(std::uint16_t port, const std::string& more = {})
{
    return connect_request(authority(port), more);
}

/// Asks for a tunnel; the response to CONNECT has no body whatever it says.
inline Response open_tunnel(TestClient& client, std::uint16_t port, const std::string& more = {})
{
    client.send(connect_request(port, more));
    return client.head(true);
}

/// An absolute-form request without a body.
inline std::string absolute(const std::string& method, std::uint16_t port, const std::string& path,
                            const std::string& more = {})
{
    return method + " http://" + authority(port) + path + " HTTP/1.1\r\nHost: ignored.example\r\n" +
           more + "\r\n";
}

}  // namespace llmproxy::test
