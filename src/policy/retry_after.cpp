#include "llmproxy/policy/retry_after.hpp"

#include "llmproxy/core/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace llmproxy::policy {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::array<std::string_view, 7> kShortDays{"Sun", "Mon", "Tue", "Wed",
                                                     "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> kLongDays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                    "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Reads a date from left to right; the first thing that does not fit makes `ok` false for good.
class DateReader {
public:
    explicit DateReader(std::string_view text) noexcept : rest_(text) {}

    void expect(std::string_view literal) noexcept
    {
        if (ok_ && rest_.starts_with(literal)) {
            rest_.remove_prefix(literal.size());
        } else {
            ok_ = false;
        }
    }

    int digits(std::size_t count) noexcept
    {
        int number = 0;
        const auto text = rest_.substr(0, count);
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool all = error == std::errc() && end == text.data() + text.size();
        if (!ok_ || text.size() != count || !all || text.front() == '-') {
            ok_ = false;
            return 0;
        }
        rest_.remove_prefix(count);
        return number;
    }

    /// asctime pads the day with a space.
    int padded_day() noexcept
    {
        if (rest_.starts_with(' ')) {
            rest_.remove_prefix(1);
            return digits(1);
        }
        return digits(2);
    }

    unsigned month() noexcept
    {
        for (unsigned i = 0; ok_ && i < kMonths.size(); ++i) {
            if (rest_.starts_with(kMonths[i])) {
                rest_.remove_prefix(kMonths[i].size());
                return i + 1;
            }
        }
        ok_ = false;
        return 1;
    }

    seconds time_of_day() noexcept
    {
        const int hour = digits(2);
        expect(":");
        const int minute = digits(2);
        expect(":");
        const int second = digits(2);
        ok_ = ok_ && hour < 24 && minute < 60 && second <= 60;
        return hours(hour) + minutes(minute) + seconds(second);
    }

    [[nodiscard]] bool done() const noexcept { return ok_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

std::optional<core::SystemTime> at(const DateReader& reader, int year, unsigned month, int day,
                                   seconds time) noexcept
{
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                           std::chrono::day(static_cast<unsigned>(day))};
    // A time point in nanoseconds ends in 2262.
    if (!reader.done() || !date.ok() || year < 1970 || year > 2200) {
        return std::nullopt;
    }
    return core::SystemTime(std::chrono::sys_days(date).time_since_epoch() + time);
}

std::optional<core::SystemTime> parse_imf(std::string_view rest) noexcept
{
    DateReader reader(rest);
    reader.expect(", ");
    const int day = reader.digits(2);
    reader.expect(" ");
    const auto month = reader.month();
    reader.expect(" ");
    const int year = reader.digits(4);
    reader.expect(" ");
    const auto time = reader.time_of_day();
    reader.expect(" GMT");
    return at(reader, year, month, day, time);
}

std::optional<core::SystemTime> parse_rfc850(std::string_view rest, core::SystemTime now) noexcept
{
    DateReader reader(rest);
    reader.expect(", ");
    const int day = reader.digits(2);
    reader.expect("-");
    const auto month = reader.month();
    reader.expect("-");
    const int short_year = reader.digits(2);
    reader.expect(" ");
    const auto time = reader.time_of_day();
    reader.expect(" GMT");
    const std::chrono::year_month_day today(std::chrono::floor<days>(now));
    const int this_year = static_cast<int>(today.year());
    int year = this_year - this_year % 100 + short_year;
    if (year > this_year + 50) {
        year -= 100;
    } else if (year <= this_year - 50) {
        year += 100;
    }
    return at(reader, year, month, day, time);
}

std::optional<core::SystemTime> parse_asctime(std::string_view rest) noexcept
{
    DateReader reader(rest);
    reader.expect(" ");
    const auto month = reader.month();
    reader.expect(" ");
    const int day = reader.padded_day();
    reader.expect(" ");
    const auto time = reader.time_of_day();
    reader.expect(" ");
    const int year = reader.digits(4);
    return at(reader, year, month, day, time);
}

struct Unit {
    std::string_view name;
    double nanoseconds;
};

// Longer names first: `ms` is not `m`.
constexpr std::array<Unit, 7> kUnits{{{"ms", 1e6},
                                      {"us", 1e3},
                                      {"\xc2\xb5s", 1e3},
                                      {"ns", 1.0},
                                      {"h", 3600e9},
                                      {"m", 60e9},
                                      {"s", 1e9}}};

core::Duration bounded(double nanoseconds) noexcept
{
    constexpr auto kMost = static_cast<double>(kLongestHint.count());
    return core::Duration(static_cast<std::int64_t>(std::clamp(nanoseconds, 0.0, kMost)));
}

/// A number without sign and exponent at the beginning of `text`, which loses it.
std::optional<double> take_number(std::string_view& text) noexcept
{
    const auto length = std::min(text.find_first_not_of("0123456789."), text.size());
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + length, number, std::chars_format::fixed);
    if (length == 0 || end != text.data() + length) {
        return std::nullopt;
    }
    if (error == std::errc::result_out_of_range) {
        number = static_cast<double>(kLongestHint.count());
    } else if (error != std::errc()) {
        return std::nullopt;
    }
    text.remove_prefix(length);
    return number;
}

std::optional<double> whole_number(std::string_view text) noexcept
{
    text = core::trim(text);
    const auto number = take_number(text);
    return text.empty() ? number : std::nullopt;
}

std::optional<core::Duration> until(core::SystemTime then, core::SystemTime now) noexcept
{
    return std::clamp(std::chrono::duration_cast<core::Duration>(then - now), core::Duration(0),
                      kLongestHint);
}

std::optional<core::Duration> parse_retry_after(std::string_view text,
                                                core::SystemTime now) noexcept
{
    if (const auto number = whole_number(text)) {
        return bounded(*number * 1e9);
    }
    const auto date = parse_http_date(text, now);
    return date ? until(*date, now) : std::nullopt;
}

/// `x-ratelimit-reset` without a suffix: some count seconds from now, some give the time in seconds or milliseconds.
std::optional<core::Duration> parse_reset(std::string_view text, core::SystemTime now) noexcept
{
    constexpr double kEpochSeconds = 1e9;
    constexpr double kEpochMilliseconds = 1e12;
    const auto number = whole_number(text);
    if (!number || *number < kEpochSeconds) {
        return parse_reset_duration(text);
    }
    const double unit = *number < kEpochMilliseconds ? 1e9 : 1e6;
    const double since = static_cast<double>(
        std::chrono::duration_cast<core::Duration>(now.time_since_epoch()).count());
    return bounded(*number * unit - since);
}

std::optional<core::Duration> rate_limit_reset(const RetryHeaders& headers,
                                               core::SystemTime now) noexcept
{
    struct Limit {
        std::optional<core::Duration> reset;
        bool used_up;
    };
    const std::array<Limit, 2> limits{{{parse_reset_duration(headers.reset_requests),
                                        whole_number(headers.remaining_requests) == 0.0},
                                       {parse_reset_duration(headers.reset_tokens),
                                        whole_number(headers.remaining_tokens) == 0.0}}};
    std::optional<core::Duration> longest_used_up;
    std::optional<core::Duration> shortest;
    for (const auto& limit : limits) {
        if (!limit.reset) {
            continue;
        }
        if (limit.used_up) {
            longest_used_up = std::max(longest_used_up.value_or(*limit.reset), *limit.reset);
        }
        shortest = std::min(shortest.value_or(*limit.reset), *limit.reset);
    }
    if (longest_used_up) {
        return longest_used_up;
    }
    return shortest ? shortest : parse_reset(headers.reset, now);
}

}  // namespace

std::optional<core::SystemTime> parse_http_date(std::string_view text,
                                                core::SystemTime now) noexcept
{
    text = core::trim(text);
    for (std::size_t i = 0; i < kShortDays.size(); ++i) {
        if (text.starts_with(kLongDays[i])) {
            return parse_rfc850(text.substr(kLongDays[i].size()), now);
        }
        if (text.starts_with(kShortDays[i])) {
            const auto rest = text.substr(kShortDays[i].size());
            return rest.starts_with(',') ? parse_imf(rest) : parse_asctime(rest);
        }
    }
    return std::nullopt;
}

std::optional<core::Duration> parse_reset_duration(std::string_view text) noexcept
{
    if (const auto number = whole_number(text)) {
        return bounded(*number * 1e9);
    }
    text = core::trim(text);
    if (text.empty()) {
        return std::nullopt;
    }
    double total = 0;
    while (!text.empty()) {
        const auto number = take_number(text);
        const auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                                       [&](const Unit& one) { return text.starts_with(one.name); });
        if (!number || unit == kUnits.end()) {
            return std::nullopt;
        }
        total += *number * unit->nanoseconds;
        text.remove_prefix(unit->name.size());
    }
    return bounded(total);
}

std::optional<core::Duration> retry_after_hint(const RetryHeaders& headers, bool rate_limited,
                                               core::SystemTime now) noexcept
{
    if (const auto number = whole_number(headers.retry_after_ms)) {
        return bounded(*number * 1e6);
    }
    if (const auto after = parse_retry_after(headers.retry_after, now)) {
        return after;
    }
    return rate_limited ? rate_limit_reset(headers, now) : std::nullopt;
}

}  // namespace llmproxy::policy
