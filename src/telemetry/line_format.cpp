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

}  // namespace llmproxy::telemetry
