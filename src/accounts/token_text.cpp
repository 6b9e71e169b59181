#include "llmproxy/accounts/token_text.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace llmproxy::accounts {
namespace {

constexpr std::string_view kDigits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A number of 256 bits, most significant byte first; wiped when it goes.
struct Number {
    std::array<unsigned char, 32> bytes{};

    ~Number() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

    /// Divides by 62; gives the remainder.
    unsigned divide() noexcept
    {
        unsigned rest = 0;
        for (auto& byte : bytes) {
            const auto value = rest << 8U | byte;
            byte = static_cast<unsigned char>(value / kDigits.size());
            rest = value % kDigits.size();
        }
        return rest;
    }
};

}  // namespace

NewToken make_token()
{
    Number number;
    if (RAND_priv_bytes(number.bytes.data(), static_cast<int>(number.bytes.size())) != 1) {
        throw std::runtime_error("the random generator failed");
    }
    std::string text(kTokenLength, '0');
    std::copy(kTokenStart.begin(), kTokenStart.end(), text.begin());
    for (std::size_t i = kTokenLength; i > kTokenStart.size(); --i) {
        text[i - 1] = kDigits[number.divide()];
    }
    const auto hash = core::sha256(text);
    auto prefix = text.substr(0, kTokenPrefixLength);
    return {core::Secret(std::move(text)), hash, std::move(prefix)};
}

bool has_token_form(std::string_view text) noexcept
{
    return text.size() == kTokenLength && text.starts_with(kTokenStart) &&
           text.find_first_not_of(kDigits, kTokenStart.size()) == std::string_view::npos;
}

}  // namespace llmproxy::accounts
