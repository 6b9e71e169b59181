#include "llmproxy/net/tls_context.hpp"

#include <cstring>
#include <iterator>
#include <mutex>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string>
#include <utility>

namespace llmproxy::net {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;
using ContextPtr = std::shared_ptr<SSL_CTX>;

constexpr unsigned char kAlpn[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr unsigned char kSessionIdContext[] = {'l', 'l', 'm', '-', 'p', 'r', 'o', 'x', 'y'};

struct SessionFree {
    void operator()(SSL_SESSION* session) const noexcept { SSL_SESSION_free(session); }
};
using SessionPtr = std::unique_ptr<SSL_SESSION, SessionFree>;

struct SessionSlot {
    std::mutex mutex;
    SessionPtr session;
    std::string name;
};

void free_slot(void*, void* slot, CRYPTO_EX_DATA*, int, long, void*)
{
    delete static_cast<SessionSlot*>(slot);
}

int slot_index() noexcept
{
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_slot);
    return index;
}

std::string verified_name(SSL* ssl)
{
    X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
    if (const char* host = X509_VERIFY_PARAM_get0_host(param, 0)) {
        return host;
    }
    std::string name;
    if (char* address = X509_VERIFY_PARAM_get1_ip_asc(param)) {
        name = address;
        OPENSSL_free(address);
    }
    return name;
}

// Called on whichever strand reads the ticket. Returns 0: OpenSSL keeps its reference, we keep a
// copy, because the connection goes on using the original.
int keep_session(SSL* ssl, SSL_SESSION* session)
{
    auto* slot = static_cast<SessionSlot*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot_index()));
    SessionPtr copy(slot == nullptr ? nullptr : SSL_SESSION_dup(session));
    if (copy) {
        auto name = verified_name(ssl);
        const std::lock_guard lock(slot->mutex);
        std::swap(slot->session, copy);
        slot->name = std::move(name);
    }
    return 0;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_length,
                const unsigned char* offered, unsigned int offered_length, void*)
{
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_length, kAlpn, sizeof kAlpn, offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int refuse_password(char*, int, int, void*)
{
    return -1;
}

// The first error in the queue is the root: "No such file or directory" rather than "system lib".
std::string openssl_reason()
{
    const unsigned long code = ERR_get_error();
    std::string text;
    if (code == 0) {
        text = "unknown reason";
    } else if (ERR_SYSTEM_ERROR(code)) {
        text = std::strerror(ERR_GET_REASON(code));
    } else if (const char* reason = ERR_reason_error_string(code)) {
        text = reason;
    } else {
        text = "OpenSSL error " + std::to_string(code);
    }
    ERR_clear_error();
    return text;
}

Failure file_failure(const char* what, const std::string& path)
{
    return Failure(Errc::internal, Origin::self,
                   std::string("cannot load ") + what + " '" + path + "': " + openssl_reason());
}

Failure plain_failure(const char* what)
{
    return Failure(Errc::internal, Origin::self, std::string(what) + ": " + openssl_reason());
}

core::Result<ContextPtr> make_common(const SSL_METHOD* method)
{
    ERR_clear_error();
    ContextPtr context(SSL_CTX_new(method), &SSL_CTX_free);
    if (!context) {
        return plain_failure("cannot make a TLS context");
    }
    SSL_CTX* raw = context.get();
    if (SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION) != 1) {
        return plain_failure("cannot require TLS 1.2");
    }
    SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // One recv takes header and body of a record, and of several when they are there.
    SSL_CTX_set_read_ahead(raw, 1);
    SSL_CTX_set_default_passwd_cb(raw, &refuse_password);
    return context;
}

core::Result<void> use_key_pair(SSL_CTX* context, const std::string& certificate,
                                const std::string& key)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
        return file_failure("certificate", certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
        return file_failure("key", key);
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        return file_failure("key", key);
    }
    return {};
}

// Owned for the life of the process; contexts hold references of their own.
X509_STORE* system_store()
{
    struct Free {
        void operator()(X509_STORE* store) const noexcept { X509_STORE_free(store); }
    };
    static const std::unique_ptr<X509_STORE, Free> store = [] {
        std::unique_ptr<X509_STORE, Free> made(X509_STORE_new());
        if (made) {
            // A machine without CAs only fails when something is verified.
            X509_STORE_set_default_paths(made.get());
            ERR_clear_error();
        }
        return made;
    }();
    return store.get();
}

}  // namespace

core::Result<ContextPtr> make_server_context(const ServerTlsSettings& settings)
{
    auto made = make_common(TLS_server_method());
    if (!made) {
        return made;
    }
    SSL_CTX* context = made->get();
    if (auto loaded = use_key_pair(context, settings.certificate, settings.key); !loaded) {
        return loaded.error();
    }
    SSL_CTX_set_alpn_select_cb(context, &select_alpn, nullptr);
    SSL_CTX_set_session_id_context(context, kSessionIdContext, sizeof kSessionIdContext);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // stateless tickets only
    if (!settings.client_ca.empty()) {
        if (SSL_CTX_load_verify_locations(context, settings.client_ca.c_str(), nullptr) != 1) {
            return file_failure("client CA", settings.client_ca);
        }
        auto* names = SSL_load_client_CA_file(settings.client_ca.c_str());
        if (names == nullptr) {
            return file_failure("client CA", settings.client_ca);
        }
        SSL_CTX_set_client_CA_list(context, names);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    return made;
}

core::Result<ContextPtr> make_client_context(const ClientTlsSettings& settings)
{
    auto made = make_common(TLS_client_method());
    if (!made) {
        return made;
    }
    SSL_CTX* context = made->get();
    SSL_CTX_set_verify(context, settings.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       nullptr);
    if (!settings.ca.empty()) {
        if (SSL_CTX_load_verify_locations(context, settings.ca.c_str(), nullptr) != 1) {
            return file_failure("CA", settings.ca);
        }
    } else if (!settings.insecure_skip_verify) {
        X509_STORE* store = system_store();
        if (store == nullptr) {
            return plain_failure("cannot load the system's CAs");
        }
        SSL_CTX_set1_cert_store(context, store);
    }
    if (!settings.certificate.empty() || !settings.key.empty()) {
        if (auto loaded = use_key_pair(context, settings.certificate, settings.key); !loaded) {
            return loaded.error();
        }
    }
    if (SSL_CTX_set_alpn_protos(context, kAlpn, sizeof kAlpn) != 0) {
        return plain_failure("cannot set ALPN");
    }
    auto slot = std::make_unique<SessionSlot>();
    if (SSL_CTX_set_ex_data(context, slot_index(), slot.get()) != 1) {
        return plain_failure("cannot keep TLS sessions");
    }
    slot.release();
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, &keep_session);
    return made;
}

std::optional<std::chrono::seconds> certificate_lifetime(SSL_CTX& context) noexcept
{
    const X509* const own = SSL_CTX_get0_certificate(&context);
    int days = 0;
    int seconds = 0;
    if (own == nullptr || ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(own)) != 1) {
        return std::nullopt;
    }
    return std::chrono::days(days) + std::chrono::seconds(seconds);
}

void offer_session(SSL* ssl, SSL_CTX* context) noexcept
{
    auto* slot = static_cast<SessionSlot*>(SSL_CTX_get_ex_data(context, slot_index()));
    if (slot == nullptr) {
        return;
    }
    const auto name = verified_name(ssl);
    SessionPtr copy;
    {
        const std::lock_guard lock(slot->mutex);
        if (slot->session && slot->name == name && SSL_SESSION_is_resumable(slot->session.get())) {
            copy.reset(SSL_SESSION_dup(slot->session.get()));
        }
    }
    if (copy) {
        SSL_set_session(ssl, copy.get());
    }
    ERR_clear_error();
}

}  // namespace llmproxy::net
