#include "llmproxy/auth/authenticator.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace llmproxy::auth {
namespace {

/// An authenticator of configured tokens, with the accounts that it asks.
class Configured {
public:
    explicit Configured(const Settings& settings)
        : accounts_(options(settings)), auth_(settings, accounts_)
    {
    }

    [[nodiscard]] Authenticator::Found authenticate(const Credentials& credentials) const
    {
        return auth_.recall(credentials).value();
    }
    [[nodiscard]] Authenticator::Found authenticate_proxy(std::string_view value) const
    {
        return auth_.recall_proxy(value).value();
    }
    const Authenticator* operator->() const { return &auth_; }

private:
    static accounts::Accounts::Options options(const Settings& settings)
    {
        accounts::Accounts::Options options;
        options.static_accounts = static_accounts(settings);
        return options;
    }

    accounts::Accounts accounts_;
    Authenticator auth_;
};

Configured with_tokens()
{
    Settings settings;
    settings.static_tokens.push_back({"alice", core::Secret("llmp_alice"), {}});
    settings.static_tokens.push_back({"bob", core::Secret("llmp_bob"), {}});
    settings.static_tokens.push_back({"nobody", core::Secret(""), {}});
    return Configured(settings);
}

/// The principal's name, or what the client is told.
std::string outcome(const Credentials& credentials)
{
    const auto result = with_tokens().authenticate(credentials);
    return result ? result.value()->name() : std::string(result.error().message());
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

/// Name, or status with what the client is told.
std::string proxy_outcome(std::string_view value)
{
    const auto result = with_tokens().authenticate_proxy(value);
    return result ? result.value()->name()
                  : std::to_string(result.error().info().status) + " " +
                        std::string(result.error().message());
}

TEST(Authenticator, AnswersAProxyClientWith407)
{
    EXPECT_EQ(proxy_outcome("Bearer llmp_alice"), "alice");
    EXPECT_EQ(proxy_outcome("Basic bGxtcF9hbGljZTo="), "alice");  // llmp_alice:
    EXPECT_EQ(proxy_outcome("Basic eDpsbG1wX2JvYg=="), "bob");    // x:llmp_bob
    EXPECT_TRUE(proxy_outcome("").starts_with("407 This proxy needs a token"));
    EXPECT_TRUE(proxy_outcome("Digest llmp_alice").starts_with("407 This proxy needs a token"));
    for (const auto* wrong : {"Bearer llmp_alic", "Bearer llmp_alice x", "Basic bGxtcF9hbGljZQ",
                              "Basic ====", "Basic bGxtcF9hbGljOng=", "Basic llmp_alice",
                              "Bearer llmp_alice, Bearer llmp_bob"}) {
        EXPECT_EQ(proxy_outcome(wrong), "407 Incorrect proxy token.") << wrong;
    }
}

TEST(Authenticator, OffersAProxyClientBasicFirst)
{
    const auto basic = kProxyChallenge.find("Proxy-Authenticate: Basic realm=");
    const auto bearer = kProxyChallenge.find("\r\nProxy-Authenticate: Bearer");
    EXPECT_EQ(basic, 0U);
    EXPECT_LT(basic, bearer);
    EXPECT_TRUE(kProxyChallenge.ends_with("\r\n"));
}

TEST(Authenticator, CarriesTheHostsOfTheToken)
{
    Settings settings;
    settings.static_tokens.push_back({"narrow", core::Secret("n"), {"a.test", "*.b.test:8443"}});
    settings.static_tokens.push_back({"wide", core::Secret("w"), {}});
    settings.static_tokens.push_back({"broken", core::Secret("x"), {"a.*"}});
    const Configured auth(settings);
    const auto hosts_of = [&](std::string_view value) {
        return auth.authenticate_proxy(value).value()->hosts();
    };
    const auto narrow = hosts_of("Bearer n");
    ASSERT_TRUE(narrow);
    ASSERT_EQ(narrow->size(), 2U);
    EXPECT_TRUE(narrow->at(0).covers(*core::Host::parse("a.test")));
    EXPECT_EQ(narrow->at(1).port(), 8443);
    EXPECT_EQ(hosts_of("Bearer w"), nullptr);
    const auto broken = hosts_of("Bearer x");
    ASSERT_TRUE(broken);
    EXPECT_TRUE(broken->empty());  // covers nothing
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
    settings.static_tokens.push_back({"alice", core::Secret("llmp_alice"), {}});
    const Configured open(settings);
    const auto result = open.authenticate({.authorization = "Bearer whatever"});
    ASSERT_TRUE(result);
    EXPECT_EQ(result.value()->name(), "anonymous");
    EXPECT_TRUE(open.authenticate_proxy(""));
    EXPECT_TRUE(open->is_own_token("llmp_alice"));
}

TEST(Authenticator, RefusesEverybodyWithoutTokens)
{
    const Configured none{Settings{}};
    EXPECT_FALSE(none.authenticate({.authorization = "Bearer x"}));
    EXPECT_FALSE(none.authenticate({}));
    EXPECT_FALSE(none->is_own_token(""));
}

TEST(Authenticator, RecognisesItsOwnTokensInForwardedHeaders)
{
    const Configured auth = with_tokens();
    EXPECT_TRUE(auth->is_own_token("llmp_bob"));
    EXPECT_FALSE(auth->is_own_token("sk-upstream"));
    EXPECT_FALSE(auth->is_own_token(""));
    EXPECT_TRUE(auth->carries_own_token("Bearer llmp_bob"));
    EXPECT_TRUE(auth->carries_own_token("Basic eDpsbG1wX2JvYg=="));
    EXPECT_FALSE(auth->carries_own_token("Bearer sk-upstream"));
    EXPECT_FALSE(auth->carries_own_token("llmp_bob"));
}

}  // namespace
}  // namespace llmproxy::auth
