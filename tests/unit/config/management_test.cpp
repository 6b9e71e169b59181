#include "llmproxy/config/documents.hpp"
#include "llmproxy/config/load.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace llmproxy::config {
namespace {

const std::string kToken = "admin-token-0123456789";
const std::string kOther = "other-token-0123456789";

std::string with(const std::string& more, const std::string& address = "127.0.0.1:1")
{
    return "server:\n  listeners:\n    - { name: a, address: \"" + address +
           "\", serve: [gateway, admin] }\nbackends:\n  - { name: b, base_url: \"http://b/v1\" }\n"
           "auth: { static_tokens: [ { name: c, token: client-token-0123456789 } ] }\n" +
           more;
}

/// The first problem without its place; empty if there is none.
std::string problem(const std::string& text)
{
    const auto loaded = load_text(text, "f", {});
    if (loaded.problems.empty()) {
        return "";
    }
    const auto& first = loaded.problems.front();
    return first.key + ": " + first.expected;
}

bool warns(const std::string& text, const std::string& part)
{
    const auto loaded = load_text(text, "f", {});
    EXPECT_TRUE(loaded.snapshot) << (loaded.problems.empty() ? "" : problem(text));
    const auto& warnings = loaded.snapshot->warnings;
    return std::any_of(warnings.begin(), warnings.end(),
                       [&](const std::string& one) { return one.find(part) != std::string::npos; });
}

TEST(ManagementConfig, TokensAreReadWithTheirRoles)
{
    const auto loaded =
        load_text(with("management:\n  token: " + kToken +
                       "\n  tokens: [ { name: v, token: " + kOther + ", role: viewer } ]\n"),
                  "f", {});
    ASSERT_TRUE(loaded.snapshot);
    const auto& management = loaded.snapshot->management;
    EXPECT_EQ(management.token.reveal(), kToken);
    ASSERT_EQ(management.tokens.size(), 1U);
    EXPECT_EQ(management.tokens[0].name, "v");
    EXPECT_EQ(management.tokens[0].role, handlers::ManagementRole::viewer);
    EXPECT_TRUE(loaded.snapshot->warnings.empty()) << loaded.snapshot->warnings.front();
    const auto shown = effective_yaml(*loaded.snapshot);
    EXPECT_EQ(shown.find(kToken), std::string::npos);
    EXPECT_EQ(shown.find(kOther), std::string::npos);
}

TEST(ManagementConfig, TheEnvironmentGivesTheToken)
{
    const auto loaded = load_text(with(""), "f", {{"LLM_PROXY_MANAGEMENT_TOKEN", kToken}});
    ASSERT_TRUE(loaded.snapshot);
    EXPECT_EQ(loaded.snapshot->management.token.reveal(), kToken);
}

TEST(ManagementConfig, TokensThatWouldNotDoAreRefused)
{
    EXPECT_TRUE(problem(with("management: { token: short }"))
                    .starts_with("management.token: a token of at least 16 visible ASCII"));
    EXPECT_TRUE(problem(with("management: { token: \"with a space 0123456789\" }"))
                    .starts_with("management.token: a token of at least 16"));
    EXPECT_TRUE(problem(with("management: { token: client-token-0123456789 }"))
                    .starts_with("management.token: a token that no client has"));
    EXPECT_TRUE(problem(with("management: { token: " + kToken +
                             ", tokens: [ { name: v, token: " + kToken + " } ] }"))
                    .starts_with("management.tokens[0].token: a token that no other entry has"));
    EXPECT_TRUE(problem(with("management: { tokens: [ { name: admin, token: " + kToken + " } ] }"))
                    .starts_with("management.tokens[0].name: a name that no other entry has"));
    EXPECT_TRUE(problem(with("management: { tokens: [ { name: v } ] }"))
                    .starts_with("management.tokens[0].token: a value"));
}

TEST(ManagementConfig, WarnsOfWhatCannotWorkOrIsUnsafe)
{
    EXPECT_TRUE(warns(with(""), "there is no management token"));
    EXPECT_TRUE(warns(with("management: { token: " + kToken + " }", "0.0.0.0:1"),
                      "cross the network in clear"));
    auto unreachable = with("management: { token: " + kToken + " }");
    unreachable.replace(unreachable.find(", admin"), 7, "");
    EXPECT_TRUE(warns(unreachable, "no listener serves admin"));
}

TEST(StoreConfig, KeysAreThirtyTwoBytes)
{
    const std::string hex(64, 'a');
    EXPECT_EQ(problem(with("store: { path: x.db, encryption_key: " + hex +
                           ", old_encryption_keys: [ " + std::string(64, 'b') + " ] }")),
              "");
    EXPECT_TRUE(problem(with("store: { path: x.db, encryption_key: abc }"))
                    .starts_with("store.encryption_key: 32 bytes"));
    EXPECT_TRUE(problem(with("store: { path: x.db, encryption_key: " + hex +
                             ", old_encryption_keys: [ abc ] }"))
                    .starts_with("store.old_encryption_keys[0]: 32 bytes"));
    EXPECT_TRUE(warns(with("store: { durability: power }"), "there is no store"));
    const auto loaded =
        load_text(with("store: { path: x.db, encryption_key: " + hex + " }"), "f", {});
    EXPECT_EQ(effective_yaml(*loaded.snapshot).find(hex), std::string::npos);
}

}  // namespace
}  // namespace llmproxy::config
