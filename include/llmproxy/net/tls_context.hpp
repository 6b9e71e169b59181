#pragma once

#include "llmproxy/core/failure.hpp"
#include "llmproxy/net/settings.hpp"

#include <chrono>
#include <memory>
#include <openssl/ssl.h>
#include <optional>

namespace llmproxy::net {

/// A context for accepting: TLS 1.2 or later, ALPN `http/1.1`, session tickets, no renegotiation,
/// no compression. With `client_ca`, a client without a certificate of that CA is refused in the
/// handshake.
///
/// Every call makes new ticket keys, so sessions do not outlive a reload of the certificates.
/// Thread safety: may be called from any thread; the context may be shared by streams of any
/// strand. Blocks on file reads: for start-up and reload only. Fails with Errc::internal; the
/// detail names the file and OpenSSL's reason. Covers a key that is not the certificate's.
/// Encrypted keys are refused, never prompted for.
[[nodiscard]] core::Result<std::shared_ptr<SSL_CTX>>
make_server_context(const ServerTlsSettings& settings);

/// A context for connecting: TLS 1.2 or later, ALPN `http/1.1`, the chain verified unless
/// `insecure_skip_verify`. The host name is set per connection (`Stream::connect_tls`).
///
/// The system's CAs are read once per process and shared (about 20 ms); `ca` replaces them.
/// Keeps the newest session for `offer_session`. Thread safety, blocking and failures as above.
[[nodiscard]] core::Result<std::shared_ptr<SSL_CTX>>
make_client_context(const ClientTlsSettings& settings);

/// How long the context's own certificate is valid yet; negative once it has expired; nothing if it has none.
[[nodiscard]] std::optional<std::chrono::seconds> certificate_lifetime(SSL_CTX& context) noexcept;

/// Lets `ssl` resume the newest session of its context, if there is one for the same name and it is
/// still usable.
///
/// Call after SSL_set1_host or X509_VERIFY_PARAM_set1_ip and before the handshake: a resumed
/// handshake shows no certificate, so a session is only offered for the name that was verified when
/// it was made. Thread safety: one thread per `ssl`; contexts may be shared. No-op for contexts not
/// made here.
void offer_session(SSL* ssl, SSL_CTX* context) noexcept;

}  // namespace llmproxy::net
