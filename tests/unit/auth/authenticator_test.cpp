#include "llmproxy/auth/authenticator.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::auth {
namespace {

Authenticator with_tokens()
{
    Settings settings;
    settings.static_tokens.push_back({"alice", core::Secret("llmp_alice")});
    settings.static_tokens.push_back({"bob", core::Secret("llmp_bob")});
    settings.static_tokens.push_back({"nobody", core::Secret("")});
    return Authenticator(settings);
}

/// The principal's name, or what the client is told.
std::string outcome(const Credentials& credentials)
{
    const auto result = with_tokens().authenticate(credentials);
    return result ? result.value().name : std::string(result.error().message());
}

constexpr const char* kWrong = "Incorrect API key provided.";

bool is_missing(const Credentials& credentials)
{
    return outcome(credentials).starts_with("You didn't provide an API key.");
}

TEST(Authenticator, FindsTheTokenInEveryHeaderThatMayCarryIt)
{
    EXPECT_EQ(outcome({.authorization = "Bearer llmp_alice"}), "alice");
    EXPECT_EQ(outcome({.authorization = "bEaReR   llmp_alice "}), "alice");
    EXPECT_EQ(outcome({.x_api_key = "llmp_bob"}), "bob");
    EXPECT_EQ(outcome({.api_key = " llmp_bob"}), "bob");
    EXPECT_EQ(outcome({.proxy_authorization = "Bearer llmp_alice"}), "alice");
}

TEST(Authenticator, TakesABasicProxyCredentialAsUserOrPassword)
{
    EXPECT_EQ(outcome({.proxy_authorization = "Basic bGxtcF9hbGljZTo="}), "alice");  // llmp_alice:
    EXPECT_EQ(outcome({.proxy_authorization = "basic bGxtcF9hbGljZQ=="}), "alice");  // llmp_alice
    EXPECT_EQ(outcome({.proxy_authorization = "Basic eDpsbG1wX2JvYg=="}), "bob");    // x:llmp_bob
    EXPECT_EQ(outcome({.proxy_authorization = "Basic bGxtcF9hbGljZTpsbG1wX2JvYg=="}),
              "bob");  // both
}

TEST(Authenticator, ReadsBase64Strictly)
{
    const std::vector<std::string> broken{
        "Basic bGxtcF9hbGljZTo",    // no padding
        "Basic bGxt cF9hbGljZTo=",  // space
        "Basic bGxtcF9hbGljZTp=",   // bits behind the last byte
        "Basic bGxtcF9hbGljZTo==",  // too much padding
        "Basic bGxtcF9hbGlj=ZTo=",  // padding inside
        "Basic ====",
        "Basic bGxtcF9hbGljZTo=\n",
    };
    for (const auto& value : broken) {
        EXPECT_EQ(outcome({.proxy_authorization = value}), kWrong) << value;
    }
}

TEST(Authenticator, TellsMissingFromWrong)
{
    EXPECT_TRUE(is_missing({}));
    EXPECT_TRUE(is_missing({.authorization = "Bearer"}));
    EXPECT_TRUE(is_missing({.authorization = "Bearer  "}));
    EXPECT_TRUE(is_missing({.authorization = "Basic bGxtcF9hbGljZTo="}));
    EXPECT_TRUE(is_missing({.authorization = "Bearerllmp_alice"}));
    EXPECT_EQ(outcome({.authorization = "Bearer llmp_alic"}), kWrong);
    EXPECT_EQ(outcome({.authorization = "Bearer llmp_alicee"}), kWrong);
    EXPECT_EQ(outcome({.x_api_key = "LLMP_ALICE"}), kWrong);
}

TEST(Authenticator, AcceptsAnyOneOfSeveralCredentials)
{
    EXPECT_EQ(outcome({.authorization = "Bearer sk-other", .x_api_key = "llmp_bob"}), "bob");
    EXPECT_EQ(outcome({.authorization = "Bearer llmp_alice", .x_api_key = "llmp_bob"}), "alice");
}

TEST(Authenticator, NeverEchoesTheCredential)
{
    const auto result = with_tokens().authenticate({.authorization = "Bearer canary-4711"});
    ASSERT_FALSE(result);
    const auto failure = result.error();
    EXPECT_EQ(failure.errc(), core::Errc::invalid_api_key);
    EXPECT_EQ(failure.origin(), core::Origin::client);
    EXPECT_EQ(failure.describe().find("canary"), std::string::npos);
    EXPECT_EQ(failure.message().find("canary"), std::string_view::npos);
}

TEST(Authenticator, LetsEveryoneInWhenOpen)
{
    Settings settings;
    settings.mode = Mode::open;
    settings.static_tokens.push_back({"alice", core::Secret("llmp_alice")});
    const Authenticator open(settings);
    const auto result = open.authenticate({.authorization = "Bearer whatever"});
    ASSERT_TRUE(result);
    EXPECT_EQ(result.value().name, "anonymous");
    EXPECT_TRUE(result.value().open);
    EXPECT_TRUE(open.is_own_token("llmp_alice"));
}

TEST(Authenticator, RefusesEverybodyWithoutTokens)
{
    const Authenticator none{Settings{}};
    EXPECT_FALSE(none.authenticate({.authorization = "Bearer x"}));
    EXPECT_FALSE(none.authenticate({}));
    EXPECT_FALSE(none.is_own_token(""));
}

TEST(Authenticator, RecognisesItsOwnTokensInForwardedHeaders)
{
    const auto auth = with_tokens();
    EXPECT_TRUE(auth.is_own_token("llmp_bob"));
    EXPECT_FALSE(auth.is_own_token("sk-upstream"));
    EXPECT_FALSE(auth.is_own_token(""));
    EXPECT_TRUE(auth.carries_own_token("Bearer llmp_bob"));
    EXPECT_TRUE(auth.carries_own_token("Basic eDpsbG1wX2JvYg=="));
    EXPECT_FALSE(auth.carries_own_token("Bearer sk-upstream"));
    EXPECT_FALSE(auth.carries_own_token("llmp_bob"));
}

}  // namespace
}  // namespace llmproxy::auth
