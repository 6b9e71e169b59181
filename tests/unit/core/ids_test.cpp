#include "llmproxy/core/ids.hpp"

#include <gtest/gtest.h>
#include <regex>
#include <set>
#include <thread>
#include <vector>

namespace llmproxy::core {
namespace {

using namespace std::chrono_literals;

TEST(RequestId, IsAnUuidOfVersion7)
{
    const std::regex shape("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
    const ManualClock clock;
    for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(std::regex_match(make_request_id(clock.wall()), shape));
    }
}

TEST(RequestId, BeginsWithTheMillisecondsOfItsTime)
{
    // RFC 9562, appendix A.6: 2022-02-22T19:22:22Z.
    const SystemTime time{std::chrono::milliseconds(0x017F22E279B0)};
    EXPECT_EQ(make_request_id(time).substr(0, 14), "017f22e2-79b0-");
}

TEST(Uuid, TellsItsTimeToTheMillisecond)
{
    const SystemTime time{std::chrono::microseconds(1'645'557'742'000'999)};
    EXPECT_EQ(time_of(make_uuid7(time)), std::chrono::floor<std::chrono::milliseconds>(time));
    Uuid last;
    last.bytes.fill(0xff);
    EXPECT_LE(time_of(last), SystemTime::max());
    EXPECT_GT(time_of(last), SystemTime(std::chrono::hours(24 * 365 * 290)));
}

TEST(Uuid, FirstOfAMillisecondIsBelowAllOfIt)
{
    ManualClock clock;
    for (int i = 0; i < 300; ++i) {
        const auto id = make_uuid7(clock.wall());
        EXPECT_LE(first_uuid7(clock.wall()), id);
        EXPECT_LT(id, first_uuid7(clock.wall() + 1ms));
        clock.advance(777us);
    }
}

TEST(Uuid, ReadsItsOwnTextAndNoOther)
{
    const auto id = make_uuid7(ManualClock().wall());
    const auto text = to_text(id);
    EXPECT_EQ(parse_uuid(text), id);
    std::string upper = text;
    for (auto& c : upper) {
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    EXPECT_EQ(parse_uuid(upper), id);
    for (const std::string bad :
         {"", "x", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
          "017f22e2079b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
          "017f22e279b07cc398c4dc0c0c07398f----"}) {
        EXPECT_FALSE(parse_uuid(bad)) << bad;
    }
}

TEST(RequestId, SortsByTime)
{
    ManualClock clock;
    std::string before = make_request_id(clock.wall());
    for (int i = 0; i < 300; ++i) {
        clock.advance(1ms);
        std::string next = make_request_id(clock.wall());
        EXPECT_LT(before, next);
        before = std::move(next);
    }
}

TEST(RequestId, IsUniqueWithinOneMillisecondAndOverThreads)
{
    const ManualClock clock;
    std::vector<std::vector<std::string>> made(4);
    {
        std::vector<std::jthread> threads;
        for (auto& ids : made) {
            threads.emplace_back([&ids, now = clock.wall()] {
                for (int i = 0; i < 1000; ++i) {
                    ids.push_back(make_request_id(now));
                }
            });
        }
    }
    std::set<std::string> all;
    for (const auto& ids : made) {
        all.insert(ids.begin(), ids.end());
    }
    EXPECT_EQ(all.size(), 4000U);
}

TEST(RequestId, OwnIdsAreSane)
{
    EXPECT_TRUE(is_sane_request_id(make_request_id(ManualClock().wall())));
}

TEST(SaneRequestId, KeepsPlainIdsUpTo128Characters)
{
    EXPECT_TRUE(is_sane_request_id("a"));
    EXPECT_TRUE(is_sane_request_id("Req_1.2-3"));
    EXPECT_TRUE(is_sane_request_id(std::string(128, 'x')));
}

TEST(SaneRequestId, RefusesWhatCouldBreakALogOrAHead)
{
    EXPECT_FALSE(is_sane_request_id(""));
    EXPECT_FALSE(is_sane_request_id(std::string(129, 'x')));
    for (const char bad :
         {' ', '\r', '\n', '\t', '\0', '"', '\\', '/', ':', ';', '<', '\x7f', '\xc3'}) {
        EXPECT_FALSE(is_sane_request_id(std::string("id") + bad)) << static_cast<int>(bad);
    }
}

TEST(RandomHex, HasTwoDigitsPerByteAndDiffers)
{
    EXPECT_EQ(random_hex(0), "");
    const std::string one = random_hex(16);
    EXPECT_EQ(one.size(), 32U);
    EXPECT_EQ(one.find_first_not_of("0123456789abcdef"), std::string::npos);
    EXPECT_NE(one, random_hex(16));
}

}  // namespace
}  // namespace llmproxy::core
