#include "egress_url.hpp"

#include "llmproxy/core/base64.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/upstream/backend.hpp"

#include <openssl/crypto.h>

namespace llmproxy::upstream {
namespace {

/// RFC 7617, section 2: `user:password`, the colon also without a password.
core::Secret basic_credential(std::string_view userinfo)
{
    const auto colon = userinfo.find(':');
    auto pair = core::percent_decoded(userinfo.substr(0, colon)) + ":";
    if (colon != std::string_view::npos) {
        pair += core::percent_decoded(userinfo.substr(colon + 1));
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
