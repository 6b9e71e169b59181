#include "llmproxy/telemetry/trace.hpp"

#include "llmproxy/core/ids.hpp"
#include "llmproxy/core/text.hpp"

#include <algorithm>

namespace llmproxy::telemetry {
namespace {

constexpr std::size_t kParentSize = 55;  // 00-<32>-<16>-<2>
constexpr int kMostMembers = 32;
constexpr std::size_t kMostValue = 256;

/// Hex digits, lower case only.
template <std::size_t Size>
bool read_hex(std::string_view text, std::array<std::uint8_t, Size>& out) noexcept
{
    for (std::size_t i = 0; i < Size; ++i) {
        const char first = text[2 * i];
        const char second = text[2 * i + 1];
        const int high = core::lower(first) == first ? core::hex_value(first) : -1;
        const int low = core::lower(second) == second ? core::hex_value(second) : -1;
        if (high < 0 || low < 0) {
            return false;
        }
        out.at(i) = static_cast<std::uint8_t>(high << 4 | low);
    }
    return true;
}

template <typename Id>
bool is_zero(const Id& id) noexcept
{
    return std::all_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte == 0; });
}

constexpr bool is_lower_or_digit(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_key_part(std::string_view text, std::size_t most) noexcept
{
    return !text.empty() && text.size() <= most &&
           std::all_of(text.begin(), text.end(), [](char c) {
               return is_lower_or_digit(c) || c == '_' || c == '-' || c == '*' || c == '/';
           });
}

/// `simple-key` or `tenant@system`.
bool is_state_key(std::string_view key) noexcept
{
    const auto at = key.find('@');
    if (at == std::string_view::npos) {
        return is_key_part(key, 256) && key.front() >= 'a' && key.front() <= 'z';
    }
    const auto tenant = key.substr(0, at);
    const auto system = key.substr(at + 1);
    return is_key_part(tenant, 241) && is_lower_or_digit(tenant.front()) &&
           is_key_part(system, 14) && system.front() >= 'a' && system.front() <= 'z';
}

bool is_state_value(std::string_view value) noexcept
{
    return !value.empty() && value.size() <= kMostValue && value.back() != ' ' &&
           std::all_of(value.begin(), value.end(),
                       [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

}  // namespace

void append_hex(std::string& out, std::span<const std::uint8_t> bytes)
{
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (const auto byte : bytes) {
        out += kDigits[byte >> 4U];
        out += kDigits[byte & 15U];
    }
}

std::optional<TraceParent> parse_traceparent(std::string_view text) noexcept
{
    if (text.size() < kParentSize || text[2] != '-' || text[35] != '-' || text[52] != '-') {
        return std::nullopt;
    }
    std::array<std::uint8_t, 1> version{};
    std::array<std::uint8_t, 1> flags{};
    TraceParent parent;
    const bool read =
        read_hex(text.substr(0, 2), version) && read_hex(text.substr(3, 32), parent.trace) &&
        read_hex(text.substr(36, 16), parent.span) && read_hex(text.substr(53, 2), flags);
    const bool ends = text.size() == kParentSize || (version[0] != 0 && text[kParentSize] == '-');
    if (!read || !ends || version[0] == 0xff || is_zero(parent.trace) || is_zero(parent.span)) {
        return std::nullopt;
    }
    parent.sampled = (flags[0] & 1U) != 0;
    return parent;
}

bool is_tracestate(std::string_view list) noexcept
{
    int members = 0;
    bool good = true;
    core::for_each_item(list, [&](std::string_view member) {
        const auto equals = member.find('=');
        good = good && ++members <= kMostMembers && equals != std::string_view::npos &&
               is_state_key(member.substr(0, equals)) && is_state_value(member.substr(equals + 1));
    });
    return good && members > 0;
}

TraceAttempt& Trace::attempt()
{
    auto& one = attempts.emplace_back();
    core::fill_random(one.span);
    one.began = std::chrono::steady_clock::now();
    return one;
}

void Trace::append_fields(std::string& out) const
{
    out += "traceparent: 00-";
    append_hex(out, id);
    out += '-';
    append_hex(out, current());
    out += sampled ? "-01\r\n" : "-00\r\n";
    if (!state.empty()) {
        core::append_all(out, "tracestate: ", state, "\r\n");
    }
}

std::string Trace::id_text() const
{
    std::string text;
    append_hex(text, id);
    return text;
}

}  // namespace llmproxy::telemetry
