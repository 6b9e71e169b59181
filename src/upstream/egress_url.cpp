#include "egress_url.hpp"

#include "llmproxy/core/base64.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/upstream/backend.hpp"

#include <charconv>
#include <openssl/crypto.h>

namespace llmproxy::upstream {
namespace {

/// What is not a percent sign with two hex digits stays as it is.
std::string percent_decoded(std::string_view text)
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned char byte = 0;
        const auto digits = text.substr(i + 1, 2);
        const auto* const end = digits.data() + digits.size();
        const bool encoded = text[i] == '%' && digits.size() == 2 &&
                             std::from_chars(digits.data(), end, byte, 16).ptr == end;
        out += encoded ? static_cast<char>(byte) : text[i];
        i += encoded ? 2 : 0;
    }
    return out;
}

/// RFC 7617, section 2: `user:password`, the colon also without a password.
core::Secret basic_credential(std::string_view userinfo)
{
    const auto colon = userinfo.find(':');
    auto pair = percent_decoded(userinfo.substr(0, colon)) + ":";
    if (colon != std::string_view::npos) {
        pair += percent_decoded(userinfo.substr(colon + 1));
    }
    core::Secret credential("Basic " + core::encode_base64(pair));
    OPENSSL_cleanse(pair.data(), pair.size());
    return credential;
}

}  // namespace

core::Result<net::EgressProxy> parse_egress_url(std::string_view url,
                                                const net::ClientTlsSettings& tls)
{
    std::string rest(url);
    core::Secret authorization;
    const auto scheme = rest.find("://");
    const auto at = rest.rfind('@');
    if (scheme != std::string::npos && at != std::string::npos && at > scheme) {
        authorization =
            basic_credential(std::string_view(rest).substr(scheme + 3, at - scheme - 3));
        rest.erase(scheme + 3, at - scheme - 2);
    }
    auto parsed = parse_base_url(rest);
    if (!parsed) {
        return parsed.error();
    }
    std::shared_ptr<SSL_CTX> context;
    if (parsed->tls) {
        auto made = net::make_client_context(tls);
        if (!made) {
            return made.error();
        }
        context = std::move(*made);
    }
    return net::EgressProxy(parsed->host, parsed->port, std::move(context),
                            std::move(authorization));
}

}  // namespace llmproxy::upstream
