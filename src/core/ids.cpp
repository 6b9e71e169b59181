#include "llmproxy/core/ids.hpp"

#include <openssl/rand.h>

#include <array>
#include <stdexcept>

namespace llmproxy::core {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

/// A thread's store of random bytes: one call of the generator serves many ids.
struct RandomBytes {
    std::array<unsigned char, 1280> bytes{};
    std::size_t used = bytes.size();

    void take(unsigned char* out, std::size_t count)
    {
        if (used + count > bytes.size()) {
            if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
                throw std::runtime_error("the random generator failed");
            }
            used = 0;
        }
        for (std::size_t i = 0; i < count; ++i) {
            out[i] = bytes[used++];
        }
    }
};

}  // namespace

std::string make_request_id(SystemTime now)
{
    thread_local RandomBytes random;
    std::array<unsigned char, 16> id{};
    const auto ms = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
    for (int i = 0; i < 6; ++i) {
        id[static_cast<std::size_t>(i)] = static_cast<unsigned char>(ms >> (8 * (5 - i)));
    }
    random.take(id.data() + 6, 10);
    id[6] = static_cast<unsigned char>((id[6] & 0x0f) | 0x70);
    id[8] = static_cast<unsigned char>((id[8] & 0x3f) | 0x80);

    std::array<char, 36> text{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[at++] = '-';
        }
        text[at++] = kHex[id[i] >> 4];
        text[at++] = kHex[id[i] & 15];
    }
    return {text.data(), text.size()};
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
