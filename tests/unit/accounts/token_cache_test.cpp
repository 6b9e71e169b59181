#include "llmproxy/accounts/token_cache.hpp"

#include "access.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace llmproxy::accounts {
namespace {

using namespace std::chrono_literals;

core::Sha256 hash(std::int64_t number)
{
    return core::sha256(std::to_string(number));
}

const auto kAboutNone = [](const Account&) { return false; };

/// A cache, its clock, and shorthands.
class TokenCacheTest : public testing::Test {
protected:
    bool put(TokenCache& cache, std::int64_t number)
    {
        return cache.put(hash(number), test::account(number, number % 10), cache.generation());
    }
    bool has(TokenCache& cache, std::int64_t number)
    {
        const auto found = cache.find(hash(number), clock.now());
        if (found.account) {
            EXPECT_EQ(found.account->token(), core::TokenId{number});
            EXPECT_FALSE(found.unknown);
        }
        return found.account != nullptr;
    }
    bool unknown(TokenCache& cache, std::int64_t number)
    {
        return cache.find(hash(number), clock.now()).unknown;
    }

    core::ManualClock clock;
};

TEST_F(TokenCacheTest, KeepsWhatIsPutIn)
{
    TokenCache cache(100, 5s);
    EXPECT_FALSE(has(cache, 1));
    EXPECT_TRUE(put(cache, 1));
    EXPECT_TRUE(put(cache, 1));
    EXPECT_TRUE(has(cache, 1));
    EXPECT_FALSE(has(cache, 2));
    EXPECT_EQ(cache.size(), 1U);
}

TEST_F(TokenCacheTest, NeverHoldsMoreThanItsSize)
{
    for (const std::size_t size : {1U, 2U, 63U, 200U, 1000U}) {
        TokenCache cache(size, 5s);
        for (std::int64_t i = 0; i < 5000; ++i) {
            EXPECT_TRUE(put(cache, i));
        }
        EXPECT_EQ(cache.size(), size);
        int kept = 0;
        for (std::int64_t i = 0; i < 5000; ++i) {
            kept += has(cache, i) ? 1 : 0;
        }
        EXPECT_EQ(static_cast<std::size_t>(kept), size);
    }
}

TEST_F(TokenCacheTest, LetsGoOfWhatIsNotAskedFor)
{
    TokenCache cache(10, 5s);
    for (std::int64_t i = 0; i < 10; ++i) {
        put(cache, i);
    }
    for (std::int64_t i = 10; i < 100; ++i) {
        EXPECT_TRUE(has(cache, 3));
        EXPECT_TRUE(has(cache, 7));
        put(cache, i);
    }
    EXPECT_TRUE(has(cache, 3));
    EXPECT_TRUE(has(cache, 7));
    EXPECT_FALSE(has(cache, 0));
}

TEST_F(TokenCacheTest, RemembersUnknownTokensForAShortTime)
{
    TokenCache cache(100, 5s);
    EXPECT_FALSE(unknown(cache, 1));
    EXPECT_TRUE(cache.put_unknown(hash(1), clock.now(), cache.generation()));
    EXPECT_TRUE(unknown(cache, 1));
    clock.advance(5s - 1ns);
    EXPECT_TRUE(unknown(cache, 1));
    clock.advance(1ns);
    EXPECT_FALSE(unknown(cache, 1));
    TokenCache forgetful(100, 0s);
    EXPECT_TRUE(forgetful.put_unknown(hash(1), clock.now(), forgetful.generation()));
    EXPECT_FALSE(unknown(forgetful, 1));
    EXPECT_EQ(forgetful.unknown(), 0U);
}

TEST_F(TokenCacheTest, RemembersAnUnknownTokenFromTheLastTimeOn)
{
    TokenCache cache(100, 5s);
    (void)cache.put_unknown(hash(1), clock.now(), cache.generation());
    clock.advance(3s);
    (void)cache.put_unknown(hash(1), clock.now(), cache.generation());
    clock.advance(3s);
    (void)cache.put_unknown(hash(2), clock.now(), cache.generation());  // the first entry of 1 goes
    EXPECT_TRUE(unknown(cache, 1));
}

TEST_F(TokenCacheTest, LetsGuessesDriveNoAccountOut)
{
    TokenCache cache(1000, 5s);
    for (std::int64_t i = 0; i < 1000; ++i) {
        put(cache, i);
    }
    const auto before = cache.size();
    for (std::int64_t i = 10'000; i < 60'000; ++i) {
        (void)cache.put_unknown(hash(i), clock.now(), cache.generation());
    }
    EXPECT_EQ(cache.size(), before);
    EXPECT_LE(cache.unknown(), 1000U / 8 + 64);
    EXPECT_GE(cache.unknown(), 1000U / 8);
}

TEST_F(TokenCacheTest, ForgetsWhatAChangeIsAbout)
{
    TokenCache cache(1000, 5s);
    for (std::int64_t i = 0; i < 500; ++i) {
        put(cache, i);
    }
    (void)cache.put_unknown(hash(9999), clock.now(), cache.generation());
    const auto before = cache.generation();
    const auto after = cache.change(
        [](const Account& account) { return account.project() == core::ProjectId{3}; });
    EXPECT_GT(after, before);
    EXPECT_EQ(after, cache.generation());
    EXPECT_FALSE(unknown(cache, 9999));
    int kept = 0;
    for (std::int64_t i = 0; i < 500; ++i) {
        EXPECT_FALSE(i % 10 == 3 && has(cache, i));
        kept += has(cache, i) ? 1 : 0;
    }
    EXPECT_EQ(static_cast<std::size_t>(kept), cache.size());
    EXPECT_GT(kept, 0);
    EXPECT_TRUE(put(cache, 3));
    EXPECT_TRUE(has(cache, 3));
}

TEST_F(TokenCacheTest, TakesNothingThatWasReadBeforeAChange)
{
    TokenCache cache(10, 5s);
    const auto seen = cache.generation();
    (void)cache.change(kAboutNone);
    EXPECT_FALSE(cache.put(hash(1), test::account(1), seen));
    EXPECT_FALSE(cache.put_unknown(hash(2), clock.now(), seen));
    EXPECT_FALSE(has(cache, 1));
    EXPECT_FALSE(unknown(cache, 2));
}

TEST_F(TokenCacheTest, NeverShowsWhatWasReadBeforeTheLastChange)
{
    TokenCache cache(256, 5s);
    std::atomic<std::int64_t> stored{0};  // what a store would say
    std::atomic<bool> stop{false};
    std::array<std::thread, 3> threads;
    for (auto& thread : threads) {
        thread = std::thread([&] {
            while (!stop) {
                const auto seen = cache.generation();
                (void)cache.put(hash(1), test::account(stored), seen);
            }
        });
    }
    for (std::int64_t value = 1; value <= 500; ++value) {
        stored = value;
        (void)cache.change([](const Account&) { return true; });
        auto found = cache.find(hash(1), clock.now());
        while (!found.account) {
            std::this_thread::yield();
            found = cache.find(hash(1), clock.now());
        }
        EXPECT_EQ(found.account->token(), core::TokenId{value});
    }
    stop = true;
    for (auto& thread : threads) {
        thread.join();
    }
}

}  // namespace
}  // namespace llmproxy::accounts
