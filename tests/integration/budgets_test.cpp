// Many requests at once on little: budgets and rate limits let through what they are for, and nothing more.

#include "accounts_support.hpp"
#include "llmproxy/core/clock.hpp"

#include <algorithm>
#include <cstdint>
#include <poll.h>

using namespace llmproxy::test;
using nlohmann::json;

namespace {

constexpr std::size_t kCrowd = 200;
constexpr std::size_t kPlaces = 10;
constexpr int kMaxTokens = 100;

const std::string kBody = R"({"model":"gpt-4o","max_tokens":100,"messages":[]})";

std::string limited_chat(const StoredToken& token, const std::string& body = kBody)
{
    return post_json("/v1/chat/completions", body, token.line());
}

/// What is reserved for `kBody`: its bytes as tokens, and its longest output.
std::int64_t most_tokens()
{
    return static_cast<std::int64_t>(kBody.size()) + kMaxTokens;
}

/// In billionths of a dollar, at 1 and 2 dollars for a million.
std::int64_t most_cost()
{
    return static_cast<std::int64_t>(kBody.size()) * 1000 + std::int64_t{kMaxTokens} * 2000;
}

std::string usd(std::int64_t nano)
{
    auto digits = std::to_string(nano % 1'000'000'000);
    digits.insert(0, 9 - digits.size(), '0');
    return std::to_string(nano / 1'000'000'000) + "." + digits;
}

std::int64_t nano(const json& usd_text)
{
    const auto text = usd_text.get<std::string>();
    const auto point = std::min(text.find('.'), text.size());
    auto digits = point == text.size() ? std::string() : text.substr(point + 1);
    digits.resize(9, '0');
    return std::stoll(text.substr(0, point)) * 1'000'000'000 + std::stoll(digits);
}

/// Waits until `count` of the clients have something to read.
bool wait_answers(std::vector<TestClient>& clients, std::size_t count)
{
    std::vector<pollfd> waiting;
    for (auto& client : clients) {
        waiting.push_back({client.wire().fd(), POLLIN, 0});
    }
    while (clients.size() - waiting.size() < count) {
        const auto wait = std::chrono::milliseconds(kGuard).count();
        if (::poll(waiting.data(), waiting.size(), static_cast<int>(wait)) <= 0) {
            return false;
        }
        waiting.erase(std::remove_if(waiting.begin(), waiting.end(),
                                     [](const pollfd& one) { return one.revents != 0; }),
                      waiting.end());
    }
    return true;
}

class Limits : public WithAccounts {
protected:
    Limits() : WithAccounts({}, std::make_shared<llmproxy::core::ManualClock>()) {}

    json spend(const std::string& subject_path)
    {
        return api.read(subject_path + "/spend")["data"];
    }

    void set_budget(const std::string& subject_path, const json& budget)
    {
        const auto done = api.put(subject_path + "/budgets", json{{"budgets", {budget}}}.dump());
        ASSERT_EQ(done.status, 200) << done.body;
    }

    void set_limit(const std::string& subject_path, const json& limit)
    {
        const auto done = api.put(subject_path + "/limits", json{{"limits", {limit}}}.dump());
        ASSERT_EQ(done.status, 200) << done.body;
    }

    /// Sends kCrowd requests, in turn for each token, to a backend that answers only once all others are refused.
    /// The refusals; those that passed are checked to be kPlaces.
    std::vector<Response> refused_of_crowd(const std::vector<StoredToken>& tokens)
    {
        auto held = std::make_shared<Gate>();
        const auto before = backend.request_count();
        backend.always([held](Exchange& exchange) {
            exchange.wait(*held);
            answer(exchange);
        });
        std::vector<TestClient> clients;
        for (std::size_t i = 0; i < kCrowd; ++i) {
            clients.push_back(proxy.connect());
            clients.back().send(limited_chat(tokens[i % tokens.size()]));
        }
        EXPECT_TRUE(wait_answers(clients, kCrowd - kPlaces));
        EXPECT_TRUE(backend.wait_requests(before + kPlaces));
        held->open(kCrowd);
        std::vector<Response> refused;
        std::size_t passed = 0;
        for (auto& client : clients) {
            auto reply = client.response();
            if (reply.status == 200) {
                ++passed;
            } else {
                EXPECT_EQ(reply.status, 429) << reply.body;
                refused.push_back(std::move(reply));
            }
        }
        EXPECT_EQ(passed, kPlaces);
        EXPECT_EQ(backend.request_count(), before + kPlaces);
        backend.always(answer);
        return refused;
    }

    void expect_crowd_of_ten(const std::vector<StoredToken>& tokens, const std::string& code)
    {
        const auto refused = refused_of_crowd(tokens);
        ASSERT_EQ(refused.size(), kCrowd - kPlaces);
        for (const auto& reply : refused) {
            ASSERT_EQ(error_code(reply), code);
        }
        std::size_t rows = 0;
        for (const auto& token : tokens) {
            rows += usage_of(api, token).size();
        }
        EXPECT_EQ(rows, kPlaces) << "what is refused is not in the usage";
    }
};

}  // namespace

TEST_F(Limits, ABudgetOfTokensForTenLetsTenThrough)
{
    const auto token = make_token(api);
    const auto limit = most_tokens() * 10;
    set_budget(token.path(), {{"period", "day"}, {"tokens", limit}});
    expect_crowd_of_ten({token}, "insufficient_quota");
    const auto spent = spend(token.path());
    EXPECT_EQ(spent[0]["period"], "day");
    EXPECT_EQ(spent[0]["tokens"], 110);
    EXPECT_EQ(spent[0]["requests"], 10);
}

TEST_F(Limits, ABudgetOfMoneyForTenLetsTenThrough)
{
    const auto token = make_token(api);
    const auto limit = most_cost() * 10;
    set_budget(token.path(), {{"period", "total"}, {"cost_usd", usd(limit)}});
    expect_crowd_of_ten({token}, "insufficient_quota");
    const auto spent = spend(token.path());
    EXPECT_EQ(spent[3]["period"], "total");
    EXPECT_EQ(nano(spent[3]["cost_usd"]), 10 * 17'000);
}

TEST_F(Limits, ABudgetOfOneNanoDollarLessLetsNineThrough)
{
    const auto token = make_token(api);
    set_budget(token.path(), {{"period", "month"}, {"cost_usd", usd(most_cost() * 2 - 1)}});
    auto held = std::make_shared<Gate>();
    backend.next([held](Exchange& exchange) {
        exchange.wait(*held);
        answer(exchange);
    });
    auto first = proxy.connect();
    first.send(limited_chat(token));
    ASSERT_TRUE(backend.wait_requests(1));
    const auto refused = proxy.ask(limited_chat(token));
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(error_code(refused), "insufficient_quota");
    EXPECT_EQ(refused.head["x-should-retry"], "false");
    held->open();
    EXPECT_EQ(first.response().status, 200);
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200) << "what was not used is free again";
}

TEST_F(Limits, ABudgetOfAProjectHoldsForAllItsTokens)
{
    std::vector<StoredToken> tokens{make_token(api)};
    for (int i = 0; i < 3; ++i) {
        tokens.push_back(make_token(api, tokens.front().project));
    }
    set_budget(tokens.front().project_path(), {{"period", "week"}, {"tokens", most_tokens() * 10}});
    expect_crowd_of_ten(tokens, "insufficient_quota");
    EXPECT_EQ(spend(tokens.front().project_path())[1]["tokens"], 110);
}

TEST_F(Limits, SpendNeverPassesTheCapWhenAllUseWhatWasReserved)
{
    backend.always([](Exchange& exchange) {
        exchange.json(chat_reply(static_cast<int>(kBody.size()), kMaxTokens));
    });
    const auto token = make_token(api);
    const auto limit = most_cost() * 10 + most_cost() / 2;
    set_budget(token.path(), {{"period", "day"}, {"cost_usd", usd(limit)}});
    std::vector<TestClient> clients;
    for (std::size_t i = 0; i < kCrowd; ++i) {
        clients.push_back(proxy.connect());
        clients.back().send(limited_chat(token));
    }
    std::size_t passed = 0;
    for (auto& client : clients) {
        passed += client.response().status == 200 ? 1 : 0;
    }
    EXPECT_EQ(passed, kPlaces);
    EXPECT_EQ(nano(spend(token.path())[0]["cost_usd"]), most_cost() * 10);
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 429);
}

TEST_F(Limits, RequestsPerMinuteForTenLetTenThrough)
{
    const auto token = make_token(api);
    set_limit(token.path(), {{"requests_per_minute", 10}});
    const auto refused = refused_of_crowd({token});
    ASSERT_EQ(refused.size(), kCrowd - kPlaces);
    for (const auto& reply : refused) {
        ASSERT_EQ(error_code(reply), "rate_limit_exceeded");
        ASSERT_EQ(reply.head["x-ratelimit-limit-requests"], "10");
        ASSERT_EQ(reply.head["x-ratelimit-remaining-requests"], "0");
        ASSERT_EQ(reply.head["x-ratelimit-reset-requests"], "1m0s");
        ASSERT_EQ(reply.head["Retry-After"], "6");
    }
    EXPECT_EQ(usage_of(api, token).size(), kPlaces);
}

TEST_F(Limits, TokensPerMinuteForTenLetTenThrough)
{
    const auto token = make_token(api);
    set_limit(token.path(), {{"tokens_per_minute", most_tokens() * 10}});
    const auto refused = refused_of_crowd({token});
    ASSERT_EQ(refused.size(), kCrowd - kPlaces);
    for (const auto& reply : refused) {
        ASSERT_EQ(error_code(reply), "rate_limit_exceeded");
        ASSERT_EQ(reply.head["x-ratelimit-limit-tokens"], std::to_string(most_tokens() * 10));
        ASSERT_EQ(reply.head["x-ratelimit-remaining-tokens"], "0");
        ASSERT_EQ(reply.head["Retry-After"], "6");
    }
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200) << "what was not used is given back";
}

TEST_F(Limits, TenRequestsAtOnceAreTen)
{
    const auto token = make_token(api);
    set_limit(token.path(), {{"concurrent_requests", 10}});
    for (int round = 0; round < 2; ++round) {
        const auto refused = refused_of_crowd({token});
        ASSERT_EQ(refused.size(), kCrowd - kPlaces);
        for (const auto& reply : refused) {
            ASSERT_EQ(error_code(reply), "rate_limit_exceeded");
            ASSERT_EQ(reply.head["Retry-After"], "1");
        }
    }
}

TEST_F(Limits, TenRequestsAtOnceOfAProjectAreTen)
{
    const auto token = make_token(api);
    const auto other = make_token(api, token.project);
    set_limit(token.project_path(), {{"concurrent_requests", 10}});
    expect_crowd_of_ten({token, other}, "rate_limit_exceeded");
}

TEST_F(Limits, ARouteWithLimitsOfItsOwnIsMeasuredApart)
{
    const auto token = make_token(api);
    const auto done = api.put(token.path() + "/limits",
                              R"({"limits":[{"requests_per_minute":1},
                                            {"route":"embeddings","requests_per_minute":2}]})");
    ASSERT_EQ(done.status, 200) << done.body;
    const auto embed =
        post_json("/v1/embeddings", R"({"model":"gpt-e","input":"x"})", token.line());
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200);
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 429);
    EXPECT_EQ(proxy.ask(embed).status, 200);
    EXPECT_EQ(proxy.ask(embed).status, 200);
    EXPECT_EQ(proxy.ask(embed).status, 429);
}

TEST_F(Limits, AnswersTellWhatIsLeft)
{
    const auto token = make_token(api);
    set_limit(token.path(), {{"requests_per_minute", 60}, {"tokens_per_minute", 6000}});
    for (const bool stream : {false, true}) {
        const auto reply = proxy.ask(chat("gpt-4o", stream, token.line()));
        ASSERT_EQ(reply.status, 200) << reply.body;
        EXPECT_EQ(reply.head["x-ratelimit-limit-requests"], "60");
        EXPECT_EQ(reply.head["x-ratelimit-remaining-requests"], stream ? "58" : "59");
        EXPECT_EQ(reply.head["x-ratelimit-reset-requests"], stream ? "2s" : "1s");
        EXPECT_EQ(reply.head["x-ratelimit-limit-tokens"], "6000");
        EXPECT_EQ(reply.head.count("x-ratelimit-remaining-tokens"), 1U);
    }
    const auto free = make_token(api);
    EXPECT_EQ(
        proxy.ask(chat("gpt-4o", false, free.line())).head.count("x-ratelimit-limit-requests"), 0U);
}

TEST_F(Limits, ARequestWithoutALimitIsGivenOneUnderABudgetOnly)
{
    const auto token = make_token(api);
    const auto sent = [&](const std::string& body) {
        EXPECT_EQ(proxy.ask(limited_chat(token, body)).status, 200);
        return json::parse(backend.last_request().body);
    };
    const std::string open = R"({"model":"gpt-4o","messages":[]})";
    EXPECT_EQ(sent(open), json::parse(open));
    set_budget(token.path(), {{"period", "day"}, {"tokens", 1'000'000}});
    auto limited = json::parse(open);
    limited["max_completion_tokens"] = 4096;
    EXPECT_EQ(sent(open), limited);
    EXPECT_EQ(sent(kBody), json::parse(kBody)) << "its own";
    const std::string own = R"({"model":"gpt-4o","messages":[],"max_completion_tokens":7})";
    EXPECT_EQ(sent(own), json::parse(own));
}

TEST_F(Limits, WhatHasNoPriceIsRefusedUnderABudgetOfMoneyOnly)
{
    const auto token = make_token(api);
    const std::string body = R"({"model":"o3","max_tokens":5,"messages":[]})";
    // A reply that names a model with a price would cost that.
    backend.always(
        [](Exchange& exchange) { exchange.json("{\"usage\":" + usage_object(5, 6) + "}"); });
    EXPECT_EQ(proxy.ask(limited_chat(token, body)).status, 200);
    EXPECT_EQ(usage_of(api, token).back()["priced"], false);
    set_budget(token.path(), {{"period", "day"}, {"tokens", 1'000'000}});
    EXPECT_EQ(proxy.ask(limited_chat(token, body)).status, 200);
    set_budget(token.path(), {{"period", "day"}, {"cost_usd", "1000"}});
    const auto refused = proxy.ask(limited_chat(token, body));
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(error_code(refused), "model_not_allowed");
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200);
    EXPECT_EQ(backend.request_count(), 3U);
}

TEST_F(Limits, SpendingThatReachesASoftPercentIsLoggedOnce)
{
    const auto token = make_token(api);
    set_budget(token.path(), {{"period", "day"}, {"tokens", 2200}, {"soft_percents", {1}}});
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(proxy.ask(limited_chat(token)).status, 200);
    }
    proxy.drain();
    proxy.wait();
    const auto log = proxy.diagnostics();
    const auto at = log.find("a budget is near its end");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(log.find("a budget is near its end", at + 1), std::string::npos) << "twice";
    const auto line = log.substr(at, log.find('\n', at) - at);
    EXPECT_TRUE(has_text(line, "22")) << line;
    EXPECT_TRUE(has_text(line, "2200")) << line;
}

TEST(Budgets, AreWhereTheyWereAfterARestart)
{
    const TempDir dir;
    FakeBackend backend(
        [](Exchange& exchange) { exchange.json(chat_reply(static_cast<int>(kBody.size()), 100)); });
    const auto config = with_accounts(backend.url(), dir.file("store.db"));
    StoredToken token;
    {
        ProxyUnderTest proxy(config);
        const ManageApi api(proxy);
        token = make_token(api);
        const json budget{{"period", "total"}, {"tokens", most_tokens() * 3 - 1}};
        ASSERT_EQ(
            api.put(token.path() + "/budgets", json{{"budgets", json::array({budget})}}.dump())
                .status,
            200);
        EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200);
    }
    ProxyUnderTest proxy(config);
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 200);
    EXPECT_EQ(proxy.ask(limited_chat(token)).status, 429);
    EXPECT_EQ(ManageApi(proxy).read(token.path() + "/spend")["data"][3]["tokens"],
              most_tokens() * 2);
}
