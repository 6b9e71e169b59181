#include "handlers/manage/gatekeeper.hpp"

#include <gtest/gtest.h>

namespace llmproxy::handlers::manage {
namespace {

using core::Errc;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view kAdmin = "admin-token-0123456789";
constexpr std::string_view kViewer = "viewer-token-0123456789";

ManagementSettings settings()
{
    ManagementSettings made;
    made.token = core::Secret(std::string(kAdmin));
    made.tokens.push_back(
        ManagementToken{"finance", core::Secret(std::string(kViewer)), ManagementRole::viewer});
    return made;
}

class ManageGatekeeper : public testing::Test {
protected:
    core::Result<Actor> show(std::string_view value, const std::string& address = "192.0.2.1",
                             std::size_t fields = 1)
    {
        return keeper.admit(value, fields, address, clock.now(), wait);
    }
    Errc refused(std::string_view value, const std::string& address = "192.0.2.1",
                 std::size_t fields = 1)
    {
        const auto actor = show(value, address, fields);
        return actor ? Errc::none : actor.error().errc();
    }
    void fail(int times, const std::string& address)
    {
        for (int i = 0; i < times; ++i) {
            EXPECT_EQ(refused("Bearer wrong", address), Errc::invalid_api_key);
        }
    }

    core::ManualClock clock;
    Gatekeeper keeper{settings()};
    core::Duration wait{0};
    const std::string good = "Bearer " + std::string(kAdmin);
};

TEST_F(ManageGatekeeper, KnowsWhoCallsByTheToken)
{
    const auto admin = show(good);
    ASSERT_TRUE(admin);
    EXPECT_EQ(admin->name, "admin");
    EXPECT_EQ(admin->role, ManagementRole::admin);
    EXPECT_EQ(admin->source, "192.0.2.1");
    const auto viewer = show("bearer  " + std::string(kViewer) + " ");
    ASSERT_TRUE(viewer);
    EXPECT_EQ(viewer->name, "finance");
    EXPECT_EQ(viewer->role, ManagementRole::viewer);
}

TEST_F(ManageGatekeeper, RefusesEverythingElse)
{
    EXPECT_EQ(refused("", "192.0.2.1", 0), Errc::invalid_api_key);
    for (const std::string& value :
         {std::string("Bearer"), std::string("Bearer "), std::string(kAdmin),
          "Basic " + std::string(kAdmin), good + "x", good.substr(0, good.size() - 1),
          std::string("Bearer ADMIN-TOKEN-0123456789")}) {
        EXPECT_EQ(refused(value), Errc::invalid_api_key) << value;
    }
    EXPECT_EQ(refused(good, "192.0.2.1", 2), Errc::invalid_api_key) << "two fields";
}

TEST_F(ManageGatekeeper, WithoutTokensRefusesEverybody)
{
    keeper.replace(ManagementSettings());
    EXPECT_EQ(refused(good), Errc::invalid_api_key);
    EXPECT_EQ(refused("Bearer "), Errc::invalid_api_key);
    EXPECT_EQ(refused("", "192.0.2.1", 1), Errc::invalid_api_key);
}

TEST_F(ManageGatekeeper, FollowsAReload)
{
    auto other = settings();
    other.token = core::Secret(std::string("another-token-0123456789"));
    keeper.replace(other);
    EXPECT_EQ(refused(good), Errc::invalid_api_key);
    EXPECT_EQ(refused("Bearer another-token-0123456789"), Errc::none);
}

TEST_F(ManageGatekeeper, DoesNotListenForAWhileToWhoGuesses)
{
    fail(FailureThrottle::kPerMinute + 1, "192.0.2.1");
    EXPECT_EQ(refused(good), Errc::rate_limit_exceeded) << "not even to the right one";
    EXPECT_GT(wait, core::Duration(0));
    EXPECT_LE(wait, seconds(6));
    const auto told = wait;
    EXPECT_EQ(refused(good, "192.0.2.2"), Errc::none) << "others are not concerned";
    clock.advance(told);
    EXPECT_EQ(refused(good), Errc::none);
}

TEST_F(ManageGatekeeper, WhoShowsNothingIsNotGuessing)
{
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(refused("", "192.0.2.1", 0), Errc::invalid_api_key);
    }
    EXPECT_EQ(refused(good), Errc::none);
}

TEST_F(ManageGatekeeper, ForgivesWithTime)
{
    fail(FailureThrottle::kPerMinute, "192.0.2.1");
    clock.advance(minutes(1));
    fail(FailureThrottle::kPerMinute, "192.0.2.1");
    EXPECT_EQ(refused(good), Errc::none);
}

TEST_F(ManageGatekeeper, ANetworkOfIpv6IsOneAddress)
{
    fail(11, "2001:db8:1:2::1");
    fail(10, "2001:db8:1:2:ffff::9");
    EXPECT_EQ(refused(good, "2001:db8:1:2::5"), Errc::rate_limit_exceeded);
    EXPECT_EQ(refused(good, "2001:db8:1:3::5"), Errc::none);
    EXPECT_EQ(throttled_address("::ffff:192.0.2.1"), "192.0.2.1");
    EXPECT_EQ(throttled_address("not an address"), "not an address");
}

TEST(ManageThrottle, RemembersABoundedNumberOfAddresses)
{
    core::ManualClock clock;
    FailureThrottle throttle;
    for (std::size_t i = 0; i < 2 * FailureThrottle::kMostAddresses; ++i) {
        throttle.failed(std::to_string(i), clock.now());
    }
    EXPECT_LE(throttle.size(), FailureThrottle::kMostAddresses);
    EXPECT_GE(throttle.size(), FailureThrottle::kMostAddresses / 2);
}

TEST(ManageThrottle, KeepsTheWorstWhenItForgets)
{
    core::ManualClock clock;
    FailureThrottle throttle;
    for (std::uint64_t i = 0; i <= FailureThrottle::kPerMinute; ++i) {
        throttle.failed("worst", clock.now());
    }
    for (std::size_t i = 0; i < 2 * FailureThrottle::kMostAddresses; ++i) {
        throttle.failed(std::to_string(i), clock.now());
    }
    EXPECT_GT(throttle.wait("worst", clock.now()), core::Duration(0));
}

}  // namespace
}  // namespace llmproxy::handlers::manage
