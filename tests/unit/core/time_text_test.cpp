#include "llmproxy/core/time_text.hpp"

#include <gtest/gtest.h>

namespace llmproxy::core {
namespace {

using std::chrono::milliseconds;

constexpr SystemTime at(std::int64_t ms)
{
    return SystemTime(milliseconds(ms));
}

TEST(TimeText, IsWrittenInUtcWithMilliseconds)
{
    EXPECT_EQ(to_text(at(0)), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(to_text(at(1'769'862'896'789)), "2026-01-31T12:34:56.789Z");
    EXPECT_EQ(to_text(at(1'769'862'896'001)), "2026-01-31T12:34:56.001Z");
    EXPECT_EQ(to_text(at(951'782'400'000)), "2000-02-29T00:00:00.000Z");
}

TEST(TimeText, IsReadBackAsItWasWritten)
{
    for (const std::int64_t ms : {0LL, 1LL, 951'782'399'999LL, 1'769'862'896'789LL}) {
        EXPECT_EQ(parse_time(to_text(at(ms))), at(ms)) << ms;
    }
}

TEST(TimeText, ReadsOffsetsFractionsAndDates)
{
    const auto expected = at(1'769'862'896'000);
    EXPECT_EQ(parse_time("2026-01-31T12:34:56Z"), expected);
    EXPECT_EQ(parse_time("2026-01-31t12:34:56z"), expected);
    EXPECT_EQ(parse_time("2026-01-31 12:34:56Z"), expected);
    EXPECT_EQ(parse_time("2026-01-31T14:34:56+02:00"), expected);
    EXPECT_EQ(parse_time("2026-01-31T07:04:56-05:30"), expected);
    EXPECT_EQ(parse_time("2026-01-31T12:34:56.5Z"), expected + milliseconds(500));
    EXPECT_EQ(parse_time("2026-01-31T12:34:56.1234567891Z"),
              expected + std::chrono::nanoseconds(123'456'789));
    EXPECT_EQ(parse_time("2026-01-31"), at(1'769'817'600'000));
}

TEST(TimeText, RefusesEverythingElse)
{
    for (const auto* text : {"",
                             "2026",
                             "2026-01",
                             "2026-1-31",
                             "2026-02-30",
                             "2025-02-29",
                             "2026-13-01",
                             "2026-00-10",
                             "1969-12-31",
                             "2262-01-01",
                             "2026-01-31T",
                             "2026-01-31T12:34Z",
                             "2026-01-31T12:34:56",
                             "2026-01-31T24:00:00Z",
                             "2026-01-31T12:60:00Z",
                             "2026-01-31T12:34:60Z",
                             "2026-01-31T12:34:56.Z",
                             "2026-01-31T12:34:56+2:00",
                             "2026-01-31T12:34:56+24:00",
                             "2026-01-31T12:34:56Zx",
                             " 2026-01-31",
                             "2026-01-31 ",
                             "+026-01-31",
                             "1970-01-01T00:00:00+00:01",
                             "now",
                             "1769862896"}) {
        EXPECT_EQ(parse_time(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace llmproxy::core
