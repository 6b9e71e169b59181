#include "llmproxy/core/secret.hpp"

#include "llmproxy/core/base64.hpp"
#include "llmproxy/core/text.hpp"

#include <openssl/crypto.h>

#include <utility>

namespace llmproxy::core {

Secret::~Secret()
{
    OPENSSL_cleanse(value_.data(), value_.size());
}

std::optional<Secret> decode_key(std::string_view text)
{
    constexpr std::size_t kBytes = 32;
    std::string key;
    if (text.size() == 2 * kBytes) {
        for (std::size_t i = 0; i < text.size(); i += 2) {
            const int high = hex_value(text[i]);
            const int low = hex_value(text[i + 1]);
            if (high < 0 || low < 0) {
                return std::nullopt;
            }
            key += static_cast<char>(high << 4 | low);
        }
    } else if (auto decoded = decode_base64(text)) {
        key = std::move(*decoded);
    }
    Secret secret(std::move(key));
    return secret.reveal().size() == kBytes ? std::optional(std::move(secret)) : std::nullopt;
}

bool operator==(const Secret& a, const Secret& b) noexcept
{
    return equal_constant_time(a.value_, b.value_);
}

std::ostream& operator<<(std::ostream& out, const Secret& secret)
{
    return out << (secret.empty() ? "" : "***");
}

bool equal_constant_time(std::string_view a, std::string_view b) noexcept
{
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace llmproxy::core
