#pragma once

#include "forward_support.hpp"
#include "support/fake_backend.hpp"
#include "support/manage_api.hpp"
#include "support/raw_origin.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace llmproxy::test {

inline const std::string kStreamEvent =
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024\",\"choices\":[{\"delta\":{\"content\":\"a\"},"
    "\"finish_reason\":null}],\"usage\":null}\n\n";
inline const std::string kStreamLast =
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024\",\"choices\":[{\"delta\":{},"
    "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
inline const std::string kStreamDone = "data: [DONE]\n\n";

inline std::string usage_object(int prompt, int completion)
{
    return R"({"prompt_tokens":)" + std::to_string(prompt) + R"(,"completion_tokens":)" +
           std::to_string(completion) + R"(,"total_tokens":)" +
           std::to_string(prompt + completion) + "}";
}

inline std::string usage_event(int prompt, int completion)
{
    return R"(data: {"id":"c","model":"gpt-4o-2024","choices":[],"usage":)" +
           usage_object(prompt, completion) + "}\n\n";
}

/// A whole reply to a chat that tells so much usage.
inline std::string chat_reply(int prompt, int completion)
{
    return R"({"id":"c","model":"gpt-4o-2024","choices":[{"finish_reason":"stop","message":)"
           R"({"role":"assistant","content":"hi"}}],"usage":)" +
           usage_object(prompt, completion) + "}";
}

/// A token of the store.
struct StoredToken {
    std::string id;       ///< `tok_...`
    std::string project;  ///< `proj_...`
    std::string secret;

    [[nodiscard]] std::string path() const { return "/manage/tokens/" + id; }
    [[nodiscard]] std::string project_path() const { return "/manage/projects/" + project; }
    /// A header line with it.
    [[nodiscard]] std::string line(const std::string& name = "Authorization") const
    {
        return name + ": Bearer " + secret + "\r\n";
    }
};

/// `managed`, for clients that must show a token: `gpt-*` costs 1 USD per million tokens of input and 2 of output, other
/// models have no price. The listener `main` is a forward proxy too, to those ports of 127.0.0.1.
inline GatewayConfig with_accounts(const std::string& url, const std::string& store,
                                   const std::vector<std::uint16_t>& ports = {})
{
    auto config = managed(url, store);
    config.listen(
        "    - { name: main, address: \"127.0.0.1:0\", serve: [gateway, forward, health] }\n"
        "    - { name: ops, address: \"127.0.0.1:0\", serve: [metrics, health] }\n"
        "    - { name: admin, address: \"127.0.0.1:0\", serve: [admin] }\n");
    std::string allow;
    for (const auto port : ports) {
        allow += (allow.empty() ? "\"" : ", \"") + authority(port) + "\"";
    }
    config.set("forward", "{ allow: [" + allow + "], allow_private: [\"127.0.0.0/8\"] }");
    config.set("prices", "[ { model: \"gpt-*\", input: 1, output: 2 } ]");
    config.auth = "{ mode: token }";
    return config;
}

/// Makes a token, in a project of its own unless one is named. `more` has further members of the request.
inline StoredToken make_token(const ManageApi& api, std::string project = {},
                              nlohmann::json more = nlohmann::json::object())
{
    static int made = 0;
    const auto name = "t" + std::to_string(++made);
    if (project.empty()) {
        project = api.make("/manage/projects", {{"name", name}})["id"];
    }
    more["project"] = project;
    more["name"] = name;
    const auto token = api.make("/manage/tokens", more);
    return {token["id"], project, token["secret"]};
}

/// Usage rows of a token, the oldest first; throws if there are more than 1000.
inline nlohmann::json usage_of(const ManageApi& api, const StoredToken& token)
{
    const auto page = api.read("/manage/usage?limit=1000&order=oldest&token=" + token.id);
    if (!page["next"].is_null()) {
        throw std::runtime_error("more than one page of usage");
    }
    return page["data"];
}

/// A daemon with a store, a backend that tells 5 and 6 tokens, and two origins for tunnels.
class WithAccounts : public testing::Test {
protected:
    /// \param keys  further top-level keys of the configuration, with their values.
    explicit WithAccounts(const std::vector<std::pair<std::string, std::string>>& keys = {},
                          std::shared_ptr<const core::Clock> clock = nullptr)
        : proxy(configured(keys), {}, std::move(clock))
    {
    }

    [[nodiscard]] GatewayConfig
    configured(const std::vector<std::pair<std::string, std::string>>& keys) const
    {
        auto config =
            with_accounts(backend.url(), dir.file("store.db"), {origin.port(), elsewhere.port()});
        for (const auto& [key, value] : keys) {
            config.set(key, value);
        }
        return config;
    }

    static void answer(Exchange& exchange)
    {
        if (!has_text(exchange.request().body, R"("stream":true)")) {
            exchange.json(chat_reply(5, 6));
            return;
        }
        exchange.begin_sse();
        for (const auto& piece : {kStreamEvent, kStreamLast, usage_event(5, 6), kStreamDone}) {
            exchange.piece(piece);
        }
        exchange.last();
    }

    TempDir dir;
    FakeBackend backend{answer};
    RawOrigin origin{echo};
    RawOrigin elsewhere{echo};
    ProxyUnderTest proxy;
    ManageApi api{proxy};
};

}  // namespace llmproxy::test
