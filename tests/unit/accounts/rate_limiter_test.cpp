#include "llmproxy/accounts/rate_limiter.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

namespace llmproxy::accounts {
namespace {

using namespace std::chrono_literals;
using Limit = RateRefusal::Limit;
using Pass = RateLimiter::Pass;
using policy::Gcra;

constexpr auto kChat = LimitedRoute::chat_completions;
constexpr auto kEmbeddings = LimitedRoute::embeddings;

storage::LimitRow requests(std::int64_t limit, std::string route = {})
{
    storage::LimitRow row;
    row.route = std::move(route);
    row.requests_per_minute = limit;
    return row;
}

/// A limiter, its clock and the passes that are kept.
class RateLimiterTest : public testing::Test {
protected:
    void configure(std::vector<storage::LimitRow> rows) { limiter.configure(rows); }
    std::optional<RateRefusal> admit(LimitedRoute route = kChat, bool tunnel = false)
    {
        Pass pass;
        auto refusal = limiter.admit(pass, route, tunnel, clock.now());
        if (!refusal) {
            passes.push_back(std::move(pass));
        }
        return refusal;
    }
    int count_admitted(LimitedRoute route, int tries)
    {
        int admitted = 0;
        for (int i = 0; i < tries; ++i) {
            admitted += admit(route) ? 0 : 1;
        }
        return admitted;
    }

    core::ManualClock clock;
    RateLimiter limiter;
    std::vector<Pass> passes;
};

TEST_F(RateLimiterTest, TellsWhatItWouldRefuseAndTakesNothing)
{
    storage::LimitRow row;
    row.requests_per_minute = 2;
    row.concurrent_requests = 1;
    limiter.configure(std::vector<storage::LimitRow>{row});
    const auto now = clock.now();
    for (int i = 0; i < 10; ++i) {
        EXPECT_FALSE(limiter.would_refuse(LimitedRoute::chat_completions, false, now));
    }
    {
        RateLimiter::Pass pass;
        ASSERT_FALSE(limiter.admit(pass, LimitedRoute::chat_completions, false, now));
        const auto busy = limiter.would_refuse(LimitedRoute::chat_completions, false, now);
        ASSERT_TRUE(busy);
        EXPECT_EQ(busy->limit, RateRefusal::Limit::concurrency);
    }
    EXPECT_FALSE(limiter.would_refuse(LimitedRoute::chat_completions, false, now));
    {
        RateLimiter::Pass pass;
        ASSERT_FALSE(limiter.admit(pass, LimitedRoute::chat_completions, false, now));
    }
    const auto spent = limiter.would_refuse(LimitedRoute::chat_completions, false, now);
    ASSERT_TRUE(spent);
    EXPECT_EQ(spent->limit, RateRefusal::Limit::requests);
    EXPECT_LE(spent->wait, std::chrono::seconds(30));
}

TEST_F(RateLimiterTest, AdmitsEverythingWithoutLimits)
{
    EXPECT_EQ(count_admitted(kChat, 1000), 1000);
    const auto figures = RateLimiter::figures(passes.front(), clock.now());
    EXPECT_EQ(figures.requests.limit, Gcra::kNoLimit);
    std::string lines;
    append_ratelimit_lines(lines, figures);
    EXPECT_EQ(lines, "");
}

TEST_F(RateLimiterTest, RefusesRequestsPastTheLimitAndSaysHowLong)
{
    configure({requests(10)});
    EXPECT_EQ(count_admitted(kChat, 20), 10);
    const auto refusal = admit();
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->limit, Limit::requests);
    EXPECT_EQ(refusal->per, 10U);
    EXPECT_EQ(refusal->wait, 6s);
    clock.advance(6s);
    EXPECT_FALSE(admit());
}

TEST_F(RateLimiterTest, MeasuresARouteWithItsOwnRowApart)
{
    auto own = requests(3, "embeddings");
    configure({requests(5), own});
    EXPECT_EQ(count_admitted(kChat, 10), 5);
    EXPECT_EQ(count_admitted(kEmbeddings, 10), 3);
    EXPECT_EQ(count_admitted(LimitedRoute::responses, 10), 0);  // in the common row
    configure({requests(5)});
    EXPECT_EQ(count_admitted(kEmbeddings, 10), 0);
    configure({own});
    EXPECT_EQ(count_admitted(kEmbeddings, 10), 0);  // what was used stays used
    EXPECT_EQ(count_admitted(kChat, 10), 10);
}

TEST_F(RateLimiterTest, GivesARouteOfItsOwnNoLimitThatItsRowDoesNotName)
{
    storage::LimitRow own;
    own.route = "embeddings";
    own.concurrent_requests = 2;
    configure({requests(1), own, requests(1, "no such route")});
    EXPECT_EQ(count_admitted(kEmbeddings, 5), 2);
    passes.clear();
    EXPECT_EQ(count_admitted(kEmbeddings, 5), 2);
    EXPECT_EQ(count_admitted(LimitedRoute::other, 5), 1);
}

TEST_F(RateLimiterTest, CapsRequestsAndTunnelsAtOnce)
{
    storage::LimitRow row;
    row.concurrent_requests = 2;
    row.tunnels = 1;
    configure({row});
    EXPECT_FALSE(admit());
    EXPECT_FALSE(admit());
    EXPECT_FALSE(admit(LimitedRoute::connect, true));
    auto refusal = admit();
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->limit, Limit::concurrency);
    EXPECT_EQ(refusal->wait, 1s);
    refusal = admit(LimitedRoute::connect, true);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->limit, Limit::tunnels);
    EXPECT_EQ(refusal->per, 1U);
    passes.erase(passes.begin());
    EXPECT_FALSE(admit());
}

TEST_F(RateLimiterTest, TakesNoPlaceForWhatIsRefused)
{
    auto row = requests(1);
    row.concurrent_requests = 2;
    configure({row});
    EXPECT_EQ(count_admitted(kChat, 10), 1);
    row.requests_per_minute = 100;
    configure({row});
    clock.advance(1min);
    EXPECT_EQ(count_admitted(kChat, 10), 1);
}

TEST_F(RateLimiterTest, GivesAWithdrawnRequestBack)
{
    auto row = requests(1);
    row.tokens_per_minute = 10;
    row.concurrent_requests = 1;
    configure({row});
    ASSERT_FALSE(admit());
    ASSERT_FALSE(RateLimiter::take_tokens(passes[0], 10, clock.now()));
    RateLimiter::withdraw(passes[0], clock.now());
    RateLimiter::withdraw(passes[0], clock.now());
    ASSERT_FALSE(admit());
    EXPECT_FALSE(RateLimiter::take_tokens(passes[1], 10, clock.now()));
    EXPECT_TRUE(admit());
}

TEST_F(RateLimiterTest, TakesTokensBeforehandAndCorrectsThemAfterwards)
{
    storage::LimitRow row;
    row.tokens_per_minute = 600;
    configure({row});
    ASSERT_EQ(count_admitted(kChat, 3), 3);
    EXPECT_FALSE(RateLimiter::take_tokens(passes[0], 400, clock.now()));
    const auto refusal = RateLimiter::take_tokens(passes[1], 300, clock.now());
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->limit, Limit::tokens);
    EXPECT_EQ(refusal->wait, 10s);
    RateLimiter::settle_tokens(passes[0], 100, clock.now());
    EXPECT_FALSE(RateLimiter::take_tokens(passes[1], 500, clock.now()));
    RateLimiter::settle_tokens(passes[1], 530, clock.now());  // more than was thought
    EXPECT_EQ(RateLimiter::take_tokens(passes[2], 0, clock.now())->wait, 3s);
    EXPECT_EQ(RateLimiter::figures(passes[2], clock.now()).tokens.reset, 63s);
}

TEST_F(RateLimiterTest, LetsARequestOfMoreThanAMinutesTokensHaveTheWholeMinute)
{
    storage::LimitRow row;
    row.tokens_per_minute = 600;
    configure({row});
    ASSERT_EQ(count_admitted(kChat, 2), 2);
    EXPECT_FALSE(RateLimiter::take_tokens(passes[0], 1'000'000, clock.now()));
    EXPECT_EQ(RateLimiter::take_tokens(passes[1], 1'000'000, clock.now())->wait, 60s);
    RateLimiter::settle_tokens(passes[0], 0, clock.now());
    EXPECT_FALSE(RateLimiter::take_tokens(passes[1], 600, clock.now()));
}

TEST_F(RateLimiterTest, RefusesNewcomersWhileTooManyBytesPassed)
{
    storage::LimitRow row;
    row.bytes_per_minute = 6000;
    configure({row});
    ASSERT_FALSE(admit(LimitedRoute::connect, true));
    RateLimiter::charge_bytes(passes[0], 6000, clock.now());
    EXPECT_FALSE(admit());
    RateLimiter::charge_bytes(passes[0], 100, clock.now());
    const auto refusal = admit();
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->limit, Limit::bytes);
    EXPECT_EQ(refusal->wait, 1s);
    clock.advance(1s);
    EXPECT_FALSE(admit());
}

TEST_F(RateLimiterTest, AdmitsNothingWhereALimitIsZeroOrLess)
{
    struct Case {
        std::optional<std::int64_t> storage::LimitRow::*limit;
        bool tunnel;
    };
    using Row = storage::LimitRow;
    for (const auto& [limit, tunnel] :
         {Case{&Row::requests_per_minute, false}, Case{&Row::bytes_per_minute, false},
          Case{&Row::concurrent_requests, false}, Case{&Row::tunnels, true}}) {
        for (const std::int64_t value : {0, -5}) {
            Row row;
            row.*limit = value;
            configure({row});
            EXPECT_TRUE(admit(kChat, tunnel));
        }
    }
    Row row;
    row.tokens_per_minute = 0;
    configure({row});
    ASSERT_FALSE(admit());
    const auto refusal = RateLimiter::take_tokens(passes[0], 1, clock.now());
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->wait, Gcra::kNever);
}

TEST_F(RateLimiterTest, WritesWhatClientsRead)
{
    RateLimiter::Figures figures;
    figures.requests = {60, 59, 1s};
    figures.tokens = {1000, 0, 90'250ms + 1ns};
    std::string lines;
    append_ratelimit_lines(lines, figures);
    EXPECT_EQ(lines, "x-ratelimit-limit-requests: 60\r\n"
                     "x-ratelimit-remaining-requests: 59\r\n"
                     "x-ratelimit-reset-requests: 1s\r\n"
                     "x-ratelimit-limit-tokens: 1000\r\n"
                     "x-ratelimit-remaining-tokens: 0\r\n"
                     "x-ratelimit-reset-tokens: 1m30.251s\r\n");
    const std::array<std::pair<core::Duration, const char*>, 6> kResets{{
        {0s, "0s"},
        {1ns, "1ms"},
        {999ms, "999ms"},
        {1500ms, "1.5s"},
        {60s, "1m0s"},
        {6min + 20ms, "6m0.02s"},
    }};
    for (const auto& [reset, text] : kResets) {
        std::string one;
        figures = {};
        figures.tokens = {1, 1, reset};
        append_ratelimit_lines(one, figures);
        EXPECT_NE(one.find(std::string("x-ratelimit-reset-tokens: ") + text + "\r\n"), one.npos)
            << one;
    }
}

TEST_F(RateLimiterTest, RoundsRetryAfterUp)
{
    const std::array<std::pair<core::Duration, const char*>, 4> kWaits{{
        {0s, "Retry-After: 1\r\n"},
        {1ms, "Retry-After: 1\r\n"},
        {1001ms, "Retry-After: 2\r\n"},
        {6s, "Retry-After: 6\r\n"},
    }};
    for (const auto& [wait, line] : kWaits) {
        std::string out;
        append_retry_after(out, wait);
        EXPECT_EQ(out, line);
    }
}

TEST_F(RateLimiterTest, TellsTheTighterOfTwo)
{
    const RateLimiter::Figures unlimited;
    RateLimiter::Figures a;
    a.requests = {10, 5, 30s};
    RateLimiter::Figures b;
    b.requests = {100, 3, 1s};
    b.tokens = {50, 50, 0s};
    EXPECT_EQ(tighter(a, b).requests.limit, 100U);
    EXPECT_EQ(tighter(b, a).requests.limit, 100U);
    EXPECT_EQ(tighter(a, b).tokens.limit, 50U);
    EXPECT_EQ(tighter(a, unlimited).requests.limit, 10U);
    EXPECT_EQ(tighter(unlimited, a).requests.limit, 10U);
    b.requests = {20, 5, 31s};
    EXPECT_EQ(tighter(a, b).requests.limit, 20U);
}

TEST_F(RateLimiterTest, SaysWhatWasRefused)
{
    const auto failure = to_failure({Limit::tokens, 600, 10s}, storage::SubjectKind::project);
    EXPECT_EQ(failure.errc(), core::Errc::rate_limit_exceeded);
    EXPECT_EQ(failure.message(),
              "Rate limit reached: this project may have 600 tokens per minute.");
    EXPECT_EQ(to_failure({Limit::tunnels, 2, 1s}, storage::SubjectKind::token).detail(),
              "tunnels at once of the token");
}

TEST_F(RateLimiterTest, KnowsTheRoutesThatLogsName)
{
    EXPECT_EQ(limited_route("embeddings"), kEmbeddings);
    EXPECT_EQ(limited_route("forward"), LimitedRoute::forward);
    EXPECT_EQ(limited_route("health"), LimitedRoute::other);
    EXPECT_TRUE(is_limited_route("other"));
    EXPECT_FALSE(is_limited_route(""));
}

TEST_F(RateLimiterTest, AdmitsExactlyTheLimitOfTwoHundredAtOnceWhileItIsConfigured)
{
    auto row = requests(10);
    row.concurrent_requests = 100;
    auto own = requests(10, "embeddings");
    configure({row, own});
    std::array<std::vector<Pass>, 4> kept;
    std::array<std::thread, 4> threads;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t] = std::thread([&, &mine = kept[t]] {
            for (int i = 0; i < 50; ++i) {
                Pass pass;
                const auto route = i % 2 == 0 ? kChat : kEmbeddings;
                if (!limiter.admit(pass, route, false, clock.now())) {
                    mine.push_back(std::move(pass));
                }
                if (i % 10 == 0) {
                    limiter.configure(std::array{row, own});
                }
            }
        });
    }
    std::size_t admitted = 0;
    for (std::size_t t = 0; t < threads.size(); ++t) {
        threads[t].join();
        admitted += kept[t].size();
    }
    EXPECT_EQ(admitted, 20U);
}

}  // namespace
}  // namespace llmproxy::accounts
