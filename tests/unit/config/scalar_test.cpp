#include "config/scalar.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace llmproxy::config {
namespace {

using namespace std::chrono_literals;

TEST(Duration, ReadsNumbersWithUnits)
{
    EXPECT_EQ(parse_duration("100ms"), 100ms);
    EXPECT_EQ(parse_duration("5s"), 5s);
    EXPECT_EQ(parse_duration("3m"), 3min);
    EXPECT_EQ(parse_duration("2h"), 2h);
    EXPECT_EQ(parse_duration("10us"), 10us);
    EXPECT_EQ(parse_duration("7ns"), 7ns);
    EXPECT_EQ(parse_duration("1h30m"), 90min);
    EXPECT_EQ(parse_duration("1.5s"), 1500ms);
    EXPECT_EQ(parse_duration("0s"), 0s);
}

TEST(Duration, RefusesEverythingElse)
{
    for (const auto* text : {"", "5", "0", "s", "5 s", "-5s", "5S", "5d", "30m1h", "5s5s", "1h30",
                             ".5s", "1..5s", "1e3s", "99999999999h", "5s ", "\xff"}) {
        EXPECT_FALSE(parse_duration(text)) << text;
    }
}

TEST(Duration, TakesABareNumberWhereItHasAMeaning)
{
    EXPECT_EQ(parse_duration("100", BareUnit::milliseconds), 100ms);
    EXPECT_EQ(parse_duration("300", BareUnit::seconds), 300s);
    EXPECT_EQ(parse_duration("300ms", BareUnit::seconds), 300ms);
    EXPECT_FALSE(parse_duration("1h30", BareUnit::seconds));
}

TEST(Duration, IsWrittenSoThatItReadsBack)
{
    for (const auto duration :
         {0ns, 1ns, std::chrono::nanoseconds(90min), std::chrono::nanoseconds(3661001001001),
          std::chrono::nanoseconds(120s)}) {
        EXPECT_EQ(parse_duration(format_duration(duration)), duration) << format_duration(duration);
    }
    EXPECT_EQ(format_duration(90min), "1h30m");
    EXPECT_EQ(format_duration(0s), "0s");
}

TEST(Bytes, ReadsPowersOf1000And1024)
{
    EXPECT_EQ(parse_bytes("4096"), 4096);
    EXPECT_EQ(parse_bytes("32KiB"), 32768);
    EXPECT_EQ(parse_bytes("32MiB"), 32LL << 20);
    EXPECT_EQ(parse_bytes("1GiB"), 1LL << 30);
    EXPECT_EQ(parse_bytes("10KB"), 10000);
    EXPECT_EQ(parse_bytes("10 B"), 10);
    for (const auto* text : {"", "KiB", "-1", "1.5MiB", "1kib", "9999999999TiB", "1 2", "4K"}) {
        EXPECT_FALSE(parse_bytes(text)) << text;
    }
}

TEST(Bytes, AreWrittenWithTheLargestUnit)
{
    EXPECT_EQ(format_bytes(1LL << 30), "1GiB");
    EXPECT_EQ(format_bytes(1536), "1536");
    EXPECT_EQ(format_bytes(32 * 1024), "32KiB");
    EXPECT_EQ(format_bytes(0), "0");
}

TEST(YamlText, QuotesWhatWouldReadAsSomethingElse)
{
    EXPECT_EQ(yaml_text("abc"), "abc");
    EXPECT_EQ(yaml_text(""), "\"\"");
    EXPECT_EQ(yaml_text("yes"), "\"yes\"");
    EXPECT_EQ(yaml_text("1.5"), "\"1.5\"");
    EXPECT_EQ(yaml_text("- x"), "\"- x\"");
    EXPECT_EQ(yaml_text("a\nb\""), "\"a\\nb\\\"\"");
}

}  // namespace
}  // namespace llmproxy::config
