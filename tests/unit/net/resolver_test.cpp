#include "llmproxy/net/resolver.hpp"

#include "loop.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using core::Deadline;
using core::Errc;
using test::Loop;

Deadline soon()
{
    return Deadline::after(std::chrono::steady_clock::now(), std::chrono::milliseconds(10));
}

/// Names under the test's control: `slow*` block until released, `missing*` do not exist, the rest
/// is 192.0.2.1.
class FakeDns {
public:
    LookupResult look_up(const std::string& name)
    {
        std::unique_lock lock(mutex_);
        asked_.push_back(name);
        changed_.notify_all();
        if (name.starts_with("slow")) {
            changed_.wait(lock, [this] { return released_; });
        }
        LookupResult result;
        if (name.starts_with("missing")) {
            result.error = asio::error::host_not_found;
            result.reason = "no such name";
        } else {
            result.addresses.push_back(asio::ip::make_address("192.0.2.1"));
        }
        return result;
    }

    void wait_until_asked(std::size_t count)
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return asked_.size() >= count; });
    }
    void release()
    {
        const std::lock_guard lock(mutex_);
        released_ = true;
        changed_.notify_all();
    }
    [[nodiscard]] std::vector<std::string> asked() const
    {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> asked_;
    bool released_ = false;
};

class ResolverTest : public testing::Test {
protected:
    ~ResolverTest() override { dns->release(); }

    [[nodiscard]] Resolver make(ResolverOptions options = {}) const
    {
        return Resolver(
            options, [dns = dns](const std::string& name) { return dns->look_up(name); }, clock);
    }

    std::shared_ptr<FakeDns> dns = std::make_shared<FakeDns>();
    std::shared_ptr<core::ManualClock> clock = std::make_shared<core::ManualClock>();
    // Used by a coroutine to its end, hence before the loop.
    std::promise<bool> ended;
    Loop loop;
};

TEST_F(ResolverTest, AnswersLiteralsWithoutLookingUp)
{
    auto resolver = make();
    const auto v4 = loop.run(resolver.resolve("127.0.0.1", 80, Deadline()));
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->at(0), asio::ip::tcp::endpoint(asio::ip::make_address("127.0.0.1"), 80));
    const auto v6 = loop.run(resolver.resolve("[::1]", 443, Deadline()));
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->at(0), asio::ip::tcp::endpoint(asio::ip::make_address("::1"), 443));
    EXPECT_TRUE(dns->asked().empty());
}

TEST_F(ResolverTest, RemembersAnswersForTheirTime)
{
    auto resolver = make();
    ASSERT_TRUE(loop.run(resolver.resolve("api.test", 1, Deadline())));
    clock->advance(std::chrono::seconds(29));
    const auto again = loop.run(resolver.resolve("API.test", 2, Deadline()));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->at(0).port(), 2);
    EXPECT_EQ(dns->asked().size(), 1U);
    clock->advance(std::chrono::seconds(2));
    ASSERT_TRUE(loop.run(resolver.resolve("api.test", 1, Deadline())));
    EXPECT_EQ(dns->asked().size(), 2U);
}

TEST_F(ResolverTest, RemembersFailuresForASecond)
{
    auto resolver = make();
    for (int i = 0; i < 2; ++i) {
        const auto failed = loop.run(resolver.resolve("missing.test", 1, Deadline()));
        ASSERT_FALSE(failed);
        EXPECT_EQ(failed.error().errc(), Errc::upstream_connect_failed);
        EXPECT_EQ(failed.error().detail(), "cannot resolve 'missing.test': no such name");
    }
    EXPECT_EQ(dns->asked().size(), 1U);
    clock->advance(std::chrono::milliseconds(1001));
    EXPECT_FALSE(loop.run(resolver.resolve("missing.test", 1, Deadline())));
    EXPECT_EQ(dns->asked().size(), 2U);
}

TEST_F(ResolverTest, OneLookUpServesAllWhoWait)
{
    auto resolver = make();
    std::vector<std::future<core::Result<Resolver::Endpoints>>> waits;
    for (int i = 0; i < 8; ++i) {
        waits.push_back(loop.start(resolver.resolve("slow.test", 1, Deadline())));
    }
    dns->wait_until_asked(1);
    dns->release();
    for (auto& wait : waits) {
        EXPECT_TRUE(wait.get());
    }
    EXPECT_EQ(dns->asked().size(), 1U);
}

TEST_F(ResolverTest, SlowNameDoesNotDelayAnother)
{
    ResolverOptions options;
    options.threads = 2;
    auto resolver = make(options);
    auto slow = loop.start(resolver.resolve("slow.test", 1, Deadline()));
    dns->wait_until_asked(1);
    EXPECT_TRUE(loop.run(resolver.resolve("fast.test", 1, Deadline())));
    dns->release();
    EXPECT_TRUE(slow.get());
}

TEST_F(ResolverTest, GivesUpAtTheDeadline)
{
    auto resolver = make();
    const auto late = loop.run(resolver.resolve("slow.test", 1, soon()));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().errc(), Errc::upstream_timeout);
    EXPECT_EQ(late.error().cause(), asio::error::timed_out);
    dns->release();
}

TEST_F(ResolverTest, SkipsQueuedNamesNobodyWaitsFor)
{
    ResolverOptions options;
    options.threads = 1;
    auto resolver = make(options);
    auto slow = loop.start(resolver.resolve("slow.test", 1, Deadline()));
    dns->wait_until_asked(1);
    EXPECT_FALSE(loop.run(resolver.resolve("abandoned.test", 1, soon())));
    auto last = loop.start(resolver.resolve("last.test", 1, Deadline()));
    dns->release();
    EXPECT_TRUE(slow.get());
    EXPECT_TRUE(last.get());
    EXPECT_EQ(dns->asked(), (std::vector<std::string>{"slow.test", "last.test"}));
}

TEST_F(ResolverTest, ForgetsTheOldestNameWhenFull)
{
    ResolverOptions options;
    options.max_names = 2;
    auto resolver = make(options);
    for (const char* name : {"a.test", "b.test", "c.test", "b.test", "a.test"}) {
        EXPECT_TRUE(loop.run(resolver.resolve(name, 1, Deadline())));
    }
    EXPECT_EQ(dns->asked(), (std::vector<std::string>{"a.test", "b.test", "c.test", "a.test"}));
}

TEST_F(ResolverTest, RefusesMoreNamesThanItMayHold)
{
    ResolverOptions options;
    options.max_names = 1;
    auto resolver = make(options);
    auto slow = loop.start(resolver.resolve("slow.test", 1, Deadline()));
    dns->wait_until_asked(1);
    const auto refused = loop.run(resolver.resolve("other.test", 1, Deadline()));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errc(), Errc::upstream_connect_failed);
    dns->release();
    EXPECT_TRUE(slow.get());
}

TEST_F(ResolverTest, RefusesWhatIsNoName)
{
    auto resolver = make();
    for (const auto& name : {std::string(), std::string(300, 'a'), std::string("a\0b", 3)}) {
        EXPECT_FALSE(loop.run(resolver.resolve(name, 1, Deadline())));
    }
    EXPECT_TRUE(dns->asked().empty());
}

TEST_F(ResolverTest, LookupThatThrowsIsAFailure)
{
    Resolver resolver({},
                      [](const std::string&) -> LookupResult { throw std::runtime_error("x"); });
    const auto failed = loop.run(resolver.resolve("api.test", 1, Deadline()));
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().errc(), Errc::upstream_connect_failed);
}

TEST_F(ResolverTest, CancellationEndsAWaitButTheAnswerIsRemembered)
{
    auto resolver = make();
    const auto strand = asio::make_strand(loop.io());
    const auto cancel = std::make_shared<asio::cancellation_signal>();  // shared with the task
    auto task = [](Resolver& from) -> core::Task<void> {
        (void)co_await from.resolve("slow.test", 1, Deadline());
    };
    asio::co_spawn(
        strand, task(resolver),
        asio::bind_cancellation_slot(
            cancel->slot(), [this, cancel](const std::exception_ptr&) { ended.set_value(true); }));
    dns->wait_until_asked(1);
    asio::post(strand, [cancel] { cancel->emit(asio::cancellation_type::terminal); });
    EXPECT_TRUE(ended.get_future().get());
    dns->release();
    EXPECT_TRUE(loop.run(resolver.resolve("slow.test", 1, Deadline())));
    EXPECT_EQ(dns->asked().size(), 1U);
}

TEST_F(ResolverTest, DestructionEndsWaitsAndLeavesHungLookUpsBehind)
{
    std::future<core::Result<Resolver::Endpoints>> hung;
    const std::weak_ptr<FakeDns> watched = dns;
    {
        ResolverOptions options;
        options.shutdown_grace = core::Duration(1);
        auto resolver = make(options);
        hung = loop.start(resolver.resolve("slow.test", 1, Deadline()));
        dns->wait_until_asked(1);
    }
    const auto result = hung.get();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().errc(), Errc::cancelled);
    dns->release();
    // The thread left behind lets go of what it shares when its look-up returns.
    while (watched.use_count() > 1) {
        std::this_thread::yield();
    }
}

TEST(SystemLookup, KnowsLocalhost)
{
    const auto found = system_lookup("localhost");
    ASSERT_FALSE(found.error) << found.reason;
    ASSERT_FALSE(found.addresses.empty());
    EXPECT_TRUE(found.addresses.front().is_loopback());
}

}  // namespace
}  // namespace llmproxy::net
