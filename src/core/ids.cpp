#include "llmproxy/core/ids.hpp"

#include "llmproxy/core/text.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

namespace llmproxy::core {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

/// The two digits of every byte.
constexpr auto kHexPairs = [] {
    std::array<char, 512> pairs{};
    for (std::size_t byte = 0; byte < 256; ++byte) {
        pairs[2 * byte] = kHex[byte >> 4U];
        pairs[2 * byte + 1] = kHex[byte & 15U];
    }
    return pairs;
}();

/// A thread's store of random bytes: one call of the generator serves many ids.
struct RandomBytes {
    std::array<unsigned char, 1280> bytes{};
    std::size_t used = bytes.size();

    static RandomBytes& of_this_thread()
    {
        thread_local RandomBytes random;
        return random;
    }

    void take(unsigned char* out, std::size_t count)
    {
        if (used + count > bytes.size()) {
            if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
                throw std::runtime_error("the random generator failed");
            }
            used = 0;
        }
        std::memcpy(out, bytes.data() + used, count);
        used += count;
    }
};

std::uint64_t milliseconds_of(SystemTime time) noexcept
{
    const auto ms = std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
    return ms < 0 ? 0 : static_cast<std::uint64_t>(ms);
}

void put_time(Uuid& id, SystemTime time) noexcept
{
    const auto ms = milliseconds_of(time);
    for (std::size_t i = 0; i < 6; ++i) {
        id.bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
    }
}

constexpr bool has_dash_before(std::size_t byte) noexcept
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

}  // namespace

Uuid make_uuid7(SystemTime now)
{
    Uuid id;
    put_time(id, now);
    RandomBytes::of_this_thread().take(id.bytes.data() + 6, 10);
    id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0fU) | 0x70U);
    id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3fU) | 0x80U);
    return id;
}

SystemTime time_of(const Uuid& id) noexcept
{
    constexpr auto kLatest =
        std::chrono::floor<std::chrono::milliseconds>(SystemTime::max()).time_since_epoch().count();
    std::int64_t ms = 0;
    for (std::size_t i = 0; i < 6; ++i) {
        ms = ms << 8 | id.bytes[i];
    }
    return SystemTime(std::chrono::milliseconds(std::min(ms, kLatest)));
}

Uuid first_uuid7(SystemTime from) noexcept
{
    Uuid id;
    put_time(id, from);
    return id;
}

std::string to_text(const Uuid& id)
{
    std::array<char, 36> text;
    char* at = text.data();
    std::size_t i = 0;
    for (const std::size_t end : {4U, 6U, 8U, 10U, 16U}) {
        for (; i < end; ++i) {
            std::memcpy(at, kHexPairs.data() + std::size_t{2} * id.bytes[i], 2);
            at += 2;
        }
        if (end != id.bytes.size()) {
            *at++ = '-';
        }
    }
    return {text.data(), text.size()};
}

std::optional<Uuid> parse_uuid(std::string_view text) noexcept
{
    if (text.size() != 36) {
        return std::nullopt;
    }
    Uuid id;
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        if (has_dash_before(i) && text[at++] != '-') {
            return std::nullopt;
        }
        const int high = hex_value(text[at++]);
        const int low = hex_value(text[at++]);
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return id;
}

std::string make_request_id(SystemTime now)
{
    return to_text(make_uuid7(now));
}

bool is_sane_request_id(std::string_view id) noexcept
{
    if (id.empty() || id.size() > 128) {
        return false;
    }
    for (const char c : id) {
        const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!ok) {
            return false;
        }
    }
    return true;
}

void fill_random(std::span<std::uint8_t> out)
{
    do {
        RandomBytes::of_this_thread().take(out.data(), out.size());
    } while (std::all_of(out.begin(), out.end(), [](std::uint8_t byte) { return byte == 0; }));
}

std::string random_hex(std::size_t bytes)
{
    std::string raw(bytes, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(bytes)) != 1) {
        throw std::runtime_error("the random generator failed");
    }
    std::string text;
    for (const char c : raw) {
        text += kHex[static_cast<unsigned char>(c) >> 4];
        text += kHex[static_cast<unsigned char>(c) & 15];
    }
    return text;
}

}  // namespace llmproxy::core
