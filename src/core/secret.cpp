#include "llmproxy/core/secret.hpp"

#include <openssl/crypto.h>

namespace llmproxy::core {

Secret::~Secret()
{
    OPENSSL_cleanse(value_.data(), value_.size());
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
