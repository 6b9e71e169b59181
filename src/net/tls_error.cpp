#include "llmproxy/net/stream.hpp"

#include <openssl/err.h>
#include <string>

namespace llmproxy::net {
namespace {

using boost::system::error_code;

class TlsCategory final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "tls"; }
    std::string message(int value) const override
    {
        if (value == 0) {
            return "the TLS stream ended without close_notify";
        }
        const char* reason = ERR_reason_error_string(static_cast<unsigned long>(value));
        return reason == nullptr ? "TLS error " + std::to_string(value) : reason;
    }
};

const TlsCategory& tls_category()
{
    static const TlsCategory category;
    return category;
}

}  // namespace

error_code truncated_error() noexcept
{
    // boost's error_code treats value 0 as success unless told otherwise.
    return {SSL_R_UNEXPECTED_EOF_WHILE_READING | (ERR_LIB_SSL << ERR_LIB_OFFSET), tls_category()};
}

error_code tls_error(unsigned long openssl_code) noexcept
{
    const auto value = static_cast<int>(openssl_code & 0x7fffffffUL);
    return value == 0 ? truncated_error() : error_code(value, tls_category());
}

bool is_tls_error(const error_code& code) noexcept
{
    return code.category() == tls_category();
}

}  // namespace llmproxy::net
