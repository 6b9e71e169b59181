#include "llmproxy/policy/retry_after.hpp"

#include <gtest/gtest.h>

#include <string>

namespace llmproxy::policy {
namespace {

using namespace std::chrono_literals;

// Sat, 21 Nov 2026 08:49:30 GMT
const core::SystemTime kNow{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) + 8h + 49min +
                            30s};

std::optional<core::Duration> after(std::string_view text)
{
    RetryHeaders headers;
    headers.retry_after = text;
    return retry_after_hint(headers, false, kNow);
}

TEST(RetryAfter, ReadsSecondsAndTheThreeDateForms)
{
    struct Row {
        std::string_view text;
        std::optional<core::Duration> hint;
    };
    const Row rows[] = {
        {"0", 0s},
        {"1", 1s},
        {" 60 ", 60s},
        {"1.5", 1500ms},
        {"86401", 24h},
        {"99999999999999999999999999", 24h},
        {"Sat, 21 Nov 2026 08:49:37 GMT", 7s},
        {"Saturday, 21-Nov-26 08:49:37 GMT", 7s},
        {"Sat Nov 21 08:49:37 2026", 7s},
        {"Sat, 21 Nov 2026 08:49:60 GMT", 30s},
        {"Tue Dec  1 08:49:30 2026", 24h},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0s},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 0s},
        {"", std::nullopt},
        {"-1", std::nullopt},
        {"+1", std::nullopt},
        {"1e3", std::nullopt},
        {"1s", std::nullopt},
        {"1.2.3", std::nullopt},
        {".", std::nullopt},
        {"soon", std::nullopt},
        {"Sat, 21 Nov 2026 08:49:37", std::nullopt},
        {"Sat, 21 Nov 2026 08:49:37 CET", std::nullopt},
        {"Sat, 31 Feb 2026 08:49:37 GMT", std::nullopt},
        {"Sat, 21 Nov 2026 24:49:37 GMT", std::nullopt},
        {"Sat, 21 Nov 2026 08:49:61 GMT", std::nullopt},
        {"Sat, 21 Nov 2026 08:49:37 GMT ,", std::nullopt},
        {"Sat, -1 Nov 2026 08:49:37 GMT", std::nullopt},
        {"Sat, 21 Nov 9999 08:49:37 GMT", std::nullopt},
        {"Saturday, 21-Nov", std::nullopt},
        {"Sat Nov", std::nullopt},
        {"Sat", std::nullopt},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(after(row.text), row.hint) << row.text;
    }
}

TEST(RetryAfter, PutsTwoDigitYearsAtMostFiftyYearsAhead)
{
    const auto year_of = [](std::string_view text) {
        const auto date = parse_http_date(text, kNow);
        return date ? static_cast<int>(
                          std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(*date))
                              .year())
                    : 0;
    };
    EXPECT_EQ(year_of("Sunday, 06-Nov-76 08:49:37 GMT"), 2076);
    EXPECT_EQ(year_of("Sunday, 06-Nov-77 08:49:37 GMT"), 1977);
    EXPECT_EQ(year_of("Sunday, 06-Nov-25 08:49:37 GMT"), 2025);
}

TEST(RetryAfter, ReadsDurationsOfRateLimitResets)
{
    struct Row {
        std::string_view text;
        std::optional<core::Duration> duration;
    };
    const Row rows[] = {
        {"6m0s", 6min},
        {"1.5s", 1500ms},
        {"20ms", 20ms},
        {"1h2m3.5s", 1h + 2min + 3500ms},
        {"250us", 250us},
        {"250\xc2\xb5s", 250us},
        {"17ns", 17ns},
        {"0s", 0s},
        {"0", 0s},
        {"12", 12s},
        {" 8.64s ", 8640ms},
        {"1000000h", 24h},
        {"", std::nullopt},
        {"s", std::nullopt},
        {"5x", std::nullopt},
        {"5m3", std::nullopt},
        {"-5s", std::nullopt},
        {"5s ago", std::nullopt},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(parse_reset_duration(row.text), row.duration) << row.text;
    }
}

TEST(RetryAfter, TakesMillisecondsBeforeSecondsBeforeResets)
{
    RetryHeaders headers;
    headers.retry_after_ms = "1250";
    headers.retry_after = "9";
    headers.reset_requests = "7s";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 1250ms);
    headers.retry_after_ms = "later";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 9s);
    headers.retry_after = "later";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 7s);
    EXPECT_EQ(retry_after_hint(headers, false, kNow), std::nullopt);
}

TEST(RetryAfter, TakesTheResetOfTheLimitThatIsUsedUp)
{
    RetryHeaders headers;
    headers.reset_requests = "120ms";
    headers.reset_tokens = "6m0s";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 120ms);
    headers.remaining_requests = "12";
    headers.remaining_tokens = "0";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 6min);
    headers.remaining_requests = "0";
    headers.remaining_tokens = "144";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 120ms);
    headers.remaining_tokens = "0";
    EXPECT_EQ(retry_after_hint(headers, true, kNow), 6min);
}

TEST(RetryAfter, KnowsAResetThatIsATime)
{
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(kNow.time_since_epoch()).count();
    const auto reset = [](const std::string& text) {
        RetryHeaders headers;
        headers.reset = text;
        return retry_after_hint(headers, true, kNow);
    };
    EXPECT_EQ(reset("30"), 30s);
    EXPECT_EQ(reset("1m30s"), 90s);
    // Doubles hold nanoseconds of this century to some hundreds.
    EXPECT_NEAR(static_cast<double>(reset(std::to_string(seconds + 30)).value().count()), 30e9,
                1e3);
    EXPECT_NEAR(static_cast<double>(reset(std::to_string(seconds + 30) + "500").value().count()),
                30.5e9, 1e3);
    EXPECT_EQ(reset(std::to_string(seconds - 30)), 0s);
}

}  // namespace
}  // namespace llmproxy::policy
