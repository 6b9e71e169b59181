#include "llmproxy/core/time_text.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llmproxy::core {
namespace {

void put_digits(char* at, unsigned value, int width) noexcept
{
    for (int i = width - 1; i >= 0; --i) {
        at[i] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
}

/// `2026-01-31T12:34:56.` of one second.
struct SecondText {
    std::int64_t second = -1;
    std::array<char, 20> text{};

    void set(std::chrono::sys_seconds time) noexcept
    {
        const auto day = std::chrono::floor<std::chrono::days>(time);
        const std::chrono::year_month_day date(day);
        const std::chrono::hh_mm_ss clock(time - day);
        text = {'0', '0', '0', '0', '-', '0', '0', '-', '0', '0',
                'T', '0', '0', ':', '0', '0', ':', '0', '0', '.'};
        put_digits(text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
        put_digits(text.data() + 5, static_cast<unsigned>(date.month()), 2);
        put_digits(text.data() + 8, static_cast<unsigned>(date.day()), 2);
        put_digits(text.data() + 11, static_cast<unsigned>(clock.hours().count()), 2);
        put_digits(text.data() + 14, static_cast<unsigned>(clock.minutes().count()), 2);
        put_digits(text.data() + 17, static_cast<unsigned>(clock.seconds().count()), 2);
        second = time.time_since_epoch().count();
    }
};

/// Reads a text from front to back; once something was not as expected, everything fails.
class Cursor {
public:
    explicit Cursor(std::string_view text) noexcept : rest_(text) {}

    /// Exactly `width` digits, a number from `low` to `high`.
    int number(std::size_t width, int low, int high) noexcept
    {
        int value = 0;
        for (std::size_t i = 0; i < width; ++i) {
            const char digit = take();
            ok_ = ok_ && digit >= '0' && digit <= '9';
            value = value * 10 + (digit - '0');
        }
        ok_ = ok_ && value >= low && value <= high;
        return ok_ ? value : low;
    }
    /// One character, which must be among `allowed`.
    char one_of(std::string_view allowed) noexcept
    {
        const char c = take();
        ok_ = ok_ && allowed.find(c) != std::string_view::npos;
        return c;
    }
    /// What follows the decimal point, if one follows: nanoseconds.
    std::chrono::nanoseconds fraction() noexcept
    {
        std::int64_t value = 0;
        if (rest_.empty() || rest_.front() != '.') {
            return std::chrono::nanoseconds(0);
        }
        rest_.remove_prefix(1);
        std::size_t digits = 0;
        for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; ++digits) {
            const char digit = take();
            value = digits < 9 ? value * 10 + (digit - '0') : value;
        }
        ok_ = ok_ && digits != 0;
        for (; digits < 9; ++digits) {
            value *= 10;
        }
        return std::chrono::nanoseconds(value);
    }
    [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
    [[nodiscard]] bool ok() const noexcept { return ok_; }
    void fail() noexcept { ok_ = false; }

private:
    char take() noexcept
    {
        if (rest_.empty()) {
            ok_ = false;
            return '0';
        }
        const char c = rest_.front();
        rest_.remove_prefix(1);
        return c;
    }

    std::string_view rest_;
    bool ok_ = true;
};

std::chrono::sys_days read_date(Cursor& cursor) noexcept
{
    const std::chrono::year year(cursor.number(4, 1970, 2261));
    cursor.one_of("-");
    const std::chrono::month month(static_cast<unsigned>(cursor.number(2, 1, 12)));
    cursor.one_of("-");
    const std::chrono::day day(static_cast<unsigned>(cursor.number(2, 1, 31)));
    const std::chrono::year_month_day date(year, month, day);
    if (!date.ok()) {
        cursor.fail();
        return {};
    }
    return date;
}

std::chrono::minutes read_offset(Cursor& cursor) noexcept
{
    const char sign = cursor.one_of("Zz+-");
    if (sign != '+' && sign != '-') {
        return std::chrono::minutes(0);
    }
    const std::chrono::hours hours(cursor.number(2, 0, 23));
    cursor.one_of(":");
    const std::chrono::minutes minutes(cursor.number(2, 0, 59));
    return sign == '+' ? hours + minutes : -(hours + minutes);
}

}  // namespace

char* put_time(char* at, SystemTime time) noexcept
{
    thread_local SecondText cached;
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    if (whole.time_since_epoch().count() != cached.second) {
        cached.set(whole);
    }
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole);
    std::memcpy(at, cached.text.data(), cached.text.size());
    at += cached.text.size();
    put_digits(at, static_cast<unsigned>(rest.count()), 3);
    at[3] = 'Z';
    return at + 4;
}

void append_time(std::string& out, SystemTime time)
{
    char text[kTimeSize];
    const char* const end = put_time(text, time);
    out.append(text, static_cast<std::size_t>(end - text));
}

std::string to_text(SystemTime time)
{
    std::string text;
    append_time(text, time);
    return text;
}

std::optional<SystemTime> parse_time(std::string_view text) noexcept
{
    Cursor cursor(text);
    const SystemTime date(read_date(cursor));
    if (cursor.ok() && cursor.at_end()) {
        return date;
    }
    cursor.one_of("Tt ");
    const std::chrono::hours hours(cursor.number(2, 0, 23));
    cursor.one_of(":");
    const std::chrono::minutes minutes(cursor.number(2, 0, 59));
    cursor.one_of(":");
    const std::chrono::seconds seconds(cursor.number(2, 0, 59));
    const auto fraction = cursor.fraction();
    const auto offset = read_offset(cursor);
    if (!cursor.ok() || !cursor.at_end()) {
        return std::nullopt;
    }
    const auto time = date + hours + minutes + seconds + fraction - offset;
    if (time < SystemTime()) {
        return std::nullopt;
    }
    return time;
}

}  // namespace llmproxy::core
