#include "header_value.hpp"

#include "llmproxy/core/text.hpp"

#include <cstdint>

namespace llmproxy::auth {
namespace {

int base64_value(char c) noexcept
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

}  // namespace

std::optional<std::string_view> after_scheme(std::string_view value,
                                             std::string_view scheme) noexcept
{
    value = core::trim(value);
    if (value.size() <= scheme.size() || value[scheme.size()] != ' ' ||
        !core::iequals(value.substr(0, scheme.size()), scheme)) {
        return std::nullopt;
    }
    return core::trim(value.substr(scheme.size()));
}

std::optional<std::string> decode_base64(std::string_view text)
{
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::size_t padding = 0;
    while (padding < 2 && !text.empty() && text.back() == '=') {
        text.remove_suffix(1);
        ++padding;
    }
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
        const int value = base64_value(c);
        if (value < 0) {
            return std::nullopt;
        }
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes += static_cast<char>((bits >> count) & 0xff);
        }
    }
    const bool leftover_is_zero = (bits & ((1U << count) - 1)) == 0;
    return leftover_is_zero ? std::optional(std::move(bytes)) : std::nullopt;
}

std::optional<BasicCredential> decode_basic(std::string_view text)
{
    auto decoded = decode_base64(text);
    if (!decoded) {
        return std::nullopt;
    }
    const auto colon = decoded->find(':');
    BasicCredential credential;
    credential.user = decoded->substr(0, colon);
    if (colon != std::string::npos) {
        credential.password = decoded->substr(colon + 1);
    }
    return credential;
}

}  // namespace llmproxy::auth
