#include "line_format.hpp"

#include "llmproxy/core/text.hpp"

#include <array>
#include <cstring>

namespace llmproxy::telemetry {
namespace {

constexpr auto kPlain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < 0x7f; ++c) {
        plain[c] = c != '"' && c != '\\';
    }
    return plain;
}();

bool is_plain(char c) noexcept
{
    return kPlain[static_cast<unsigned char>(c)];
}

/// is_plain of eight characters at once.
bool are_plain(const char* eight) noexcept
{
    constexpr std::uint64_t kOnes = 0x0101010101010101;
    constexpr std::uint64_t kHighs = 0x8080808080808080;
    std::uint64_t text = 0;
    std::memcpy(&text, eight, sizeof text);
    const auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word; };
    const auto control = (text - kOnes * 0x20) & ~text;
    const auto special =
        zeros(text ^ (kOnes * '"')) | zeros(text ^ (kOnes * '\\')) | zeros(text ^ (kOnes * 0x7f));
    return ((control | special | text) & kHighs) == 0;
}

std::size_t plain_length(std::string_view text) noexcept
{
    std::size_t at = 0;
    while (at + 8 <= text.size() && are_plain(text.data() + at)) {
        at += 8;
    }
    while (at < text.size() && is_plain(text[at])) {
        ++at;
    }
    return at;
}

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

}  // namespace

void append_escaped(std::string& out, std::string_view text)
{
    const auto clean = plain_length(text);
    out.append(text.data(), clean);
    if (clean < text.size()) {
        core::append_json_escaped(out, text.substr(clean));
    }
}

void append_text_member(std::string& out, std::string_view key, std::string_view text)
{
    if (plain_length(text) == text.size()) {
        core::append_all(out, key, text, "\"");
        return;
    }
    out += key;
    append_escaped(out, text);
    out += '"';
}

void append_time(std::string& out, core::SystemTime time)
{
    thread_local SecondText cached;
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    if (whole.time_since_epoch().count() != cached.second) {
        cached.set(whole);
    }
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole);
    char tail[4] = {'0', '0', '0', 'Z'};
    put_digits(tail, static_cast<unsigned>(rest.count()), 3);
    out.append(cached.text.data(), cached.text.size());
    out.append(tail, sizeof tail);
}

}  // namespace llmproxy::telemetry
