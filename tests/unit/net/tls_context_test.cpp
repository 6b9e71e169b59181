#include "llmproxy/net/tls_context.hpp"

#include "support/test_ca.hpp"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <array>
#include <string_view>

namespace llmproxy::net {
namespace {

using test::TempDir;
using test::TestCa;
using ContextPtr = std::shared_ptr<SSL_CTX>;
using SslPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

/// A client and a server joined in memory.
class Pair {
public:
    Pair(SSL_CTX* client_context, SSL_CTX* server_context, const char* host)
        : client(SSL_new(client_context), &SSL_free), server(SSL_new(server_context), &SSL_free)
    {
        BIO* client_end = nullptr;
        BIO* server_end = nullptr;
        BIO_new_bio_pair(&client_end, 64 * 1024, &server_end, 64 * 1024);
        SSL_set_bio(client.get(), client_end, client_end);
        SSL_set_bio(server.get(), server_end, server_end);
        SSL_set1_host(client.get(), host);
        SSL_set_connect_state(client.get());
        SSL_set_accept_state(server.get());
        offer_session(client.get(), client_context);
    }

    bool handshake()
    {
        for (int turn = 0; turn < 20; ++turn) {
            ERR_clear_error();
            const int from_client = SSL_do_handshake(client.get());
            const int from_server = SSL_do_handshake(server.get());
            if (from_client == 1 && from_server == 1) {
                return true;
            }
        }
        return false;
    }

    /// Sends one byte to the client, whose read takes the session tickets in.
    void read_tickets()
    {
        char byte = 'x';
        SSL_write(server.get(), &byte, 1);
        SSL_read(client.get(), &byte, 1);
    }

    SslPtr client;
    SslPtr server;
};

class TlsContext : public testing::Test {
protected:
    [[nodiscard]] ContextPtr server(const test::TestCa::Leaf& identity,
                                    std::string client_ca = {}) const
    {
        ServerTlsSettings settings;
        settings.certificate = identity.certificate;
        settings.key = identity.key;
        settings.client_ca = std::move(client_ca);
        return make_server_context(settings).value();
    }
    [[nodiscard]] ContextPtr client() const
    {
        ClientTlsSettings settings;
        settings.ca = ca.certificate();
        return make_client_context(settings).value();
    }

    TempDir dir;
    TestCa ca{"ca"};
    TestCa other_ca{"other"};
    test::TestCa::Leaf leaf = ca.issue("DNS:api.test");
};

TEST_F(TlsContext, VerifiedHandshakeChoosesHttp11)
{
    const auto server_context = server(leaf);
    const auto client_context = client();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    ASSERT_TRUE(pair.handshake());
    const unsigned char* chosen = nullptr;
    unsigned int length = 0;
    SSL_get0_alpn_selected(pair.client.get(), &chosen, &length);
    ASSERT_NE(chosen, nullptr);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), length), "http/1.1");
}

TEST_F(TlsContext, ClientThatOffersOnlyOtherProtocolsGetsNone)
{
    const auto server_context = server(leaf);
    const auto client_context = client();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    const unsigned char h2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(pair.client.get(), h2, sizeof h2);
    ASSERT_TRUE(pair.handshake());
    const unsigned char* chosen = nullptr;
    unsigned int length = 0;
    SSL_get0_alpn_selected(pair.client.get(), &chosen, &length);
    EXPECT_EQ(length, 0U);
}

TEST_F(TlsContext, RefusesAnotherCasCertificate)
{
    const auto server_context = server(other_ca.issue("DNS:api.test"));
    const auto client_context = client();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    EXPECT_FALSE(pair.handshake());
}

TEST_F(TlsContext, SystemStoreDoesNotTrustAPrivateCa)
{
    const auto server_context = server(leaf);
    const auto client_context = make_client_context(ClientTlsSettings()).value();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    EXPECT_FALSE(pair.handshake());
}

TEST_F(TlsContext, SystemStoreIsSharedBetweenContexts)
{
    const auto one = make_client_context(ClientTlsSettings()).value();
    const auto two = make_client_context(ClientTlsSettings()).value();
    EXPECT_EQ(SSL_CTX_get_cert_store(one.get()), SSL_CTX_get_cert_store(two.get()));
    EXPECT_NE(SSL_CTX_get_cert_store(one.get()), SSL_CTX_get_cert_store(client().get()));
}

TEST_F(TlsContext, SkippingVerificationAcceptsAnything)
{
    const auto server_context = server(other_ca.issue("DNS:elsewhere.test"));
    ClientTlsSettings settings;
    settings.insecure_skip_verify = true;
    const auto client_context = make_client_context(settings).value();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    EXPECT_TRUE(pair.handshake());
}

TEST_F(TlsContext, RefusesTls11)
{
    const auto server_context = server(leaf);
    const auto client_context = client();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    SSL_set_security_level(pair.client.get(), 0);
    SSL_set_min_proto_version(pair.client.get(), TLS1_1_VERSION);
    SSL_set_max_proto_version(pair.client.get(), TLS1_1_VERSION);
    EXPECT_FALSE(pair.handshake());
}

TEST_F(TlsContext, ClientCaDemandsACertificateOfThatCa)
{
    const auto server_context = server(leaf, ca.certificate());
    const auto without = client();
    Pair refused(without.get(), server_context.get(), "api.test");
    EXPECT_FALSE(refused.handshake());

    const auto own = ca.issue("DNS:client.test");
    ClientTlsSettings settings;
    settings.ca = ca.certificate();
    settings.certificate = own.certificate;
    settings.key = own.key;
    const auto with = make_client_context(settings).value();
    Pair accepted(with.get(), server_context.get(), "api.test");
    EXPECT_TRUE(accepted.handshake());
}

TEST_F(TlsContext, NewConnectionsResumeTheLastSession)
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        const auto server_context = server(leaf, "");
        SSL_CTX_set_max_proto_version(server_context.get(), version);
        const auto client_context = client();
        Pair first(client_context.get(), server_context.get(), "api.test");
        ASSERT_TRUE(first.handshake());
        first.read_tickets();
        EXPECT_EQ(SSL_session_reused(first.client.get()), 0);
        Pair second(client_context.get(), server_context.get(), "api.test");
        ASSERT_TRUE(second.handshake());
        EXPECT_EQ(SSL_session_reused(second.client.get()), 1);
    }
}

TEST_F(TlsContext, SessionIsNotOfferedForAnotherName)
{
    const auto both = ca.issue("DNS:api.test,DNS:www.test");
    const auto server_context = server(both);
    const auto client_context = client();
    Pair first(client_context.get(), server_context.get(), "api.test");
    ASSERT_TRUE(first.handshake());
    first.read_tickets();
    Pair second(client_context.get(), server_context.get(), "www.test");
    ASSERT_TRUE(second.handshake());
    EXPECT_EQ(SSL_session_reused(second.client.get()), 0);
}

TEST_F(TlsContext, ResumesWithClientCertificates)
{
    const auto own = ca.issue("DNS:client.test");
    ClientTlsSettings settings;
    settings.ca = ca.certificate();
    settings.certificate = own.certificate;
    settings.key = own.key;
    const auto client_context = make_client_context(settings).value();
    const auto server_context = server(leaf, ca.certificate());
    Pair first(client_context.get(), server_context.get(), "api.test");
    ASSERT_TRUE(first.handshake());
    first.read_tickets();
    Pair second(client_context.get(), server_context.get(), "api.test");
    ASSERT_TRUE(second.handshake());
    EXPECT_EQ(SSL_session_reused(second.client.get()), 1);
}

int g_reads = 0;

long count_reads(BIO*, int operation, const char*, size_t, int, long, int returned, size_t*)
{
    if (operation == BIO_CB_READ) {
        ++g_reads;
    }
    return returned;
}

TEST_F(TlsContext, OneRecordTakesOneRead)
{
    const auto server_context = server(leaf);
    const auto client_context = client();
    Pair pair(client_context.get(), server_context.get(), "api.test");
    ASSERT_TRUE(pair.handshake());
    pair.read_tickets();
    const std::string sent(16 * 1024, 'x');
    ASSERT_EQ(SSL_write(pair.server.get(), sent.data(), static_cast<int>(sent.size())),
              static_cast<int>(sent.size()));
    g_reads = 0;
    BIO_set_callback_ex(SSL_get_rbio(pair.client.get()), &count_reads);
    std::string got(16 * 1024, '\0');
    EXPECT_EQ(SSL_read(pair.client.get(), got.data(), static_cast<int>(got.size())),
              static_cast<int>(sent.size()));
    EXPECT_EQ(g_reads, 1);
    EXPECT_EQ(got, sent);
}

TEST_F(TlsContext, NeverTakesTruncationForTheEnd)
{
    EXPECT_EQ(SSL_CTX_get_options(client().get()) & SSL_OP_IGNORE_UNEXPECTED_EOF, 0U);
    EXPECT_EQ(SSL_CTX_get_options(server(leaf).get()) & SSL_OP_IGNORE_UNEXPECTED_EOF, 0U);
}

std::string failure_of(const ServerTlsSettings& settings)
{
    const auto made = make_server_context(settings);
    return made ? std::string() : made.error().detail();
}

TEST_F(TlsContext, FailuresNameFileAndReason)
{
    ServerTlsSettings settings;
    settings.certificate = dir.file("missing.crt");
    settings.key = leaf.key;
    EXPECT_EQ(failure_of(settings),
              "cannot load certificate '" + settings.certificate + "': No such file or directory");

    settings.certificate = leaf.certificate;
    settings.key = ca.issue("DNS:api.test").key;
    EXPECT_EQ(failure_of(settings), "cannot load key '" + settings.key + "': key values mismatch");

    settings.key = dir.file("empty.key");
    test::write_file(settings.key, "");
    EXPECT_NE(failure_of(settings).find("cannot load key '" + settings.key + "': "),
              std::string::npos);

    settings.key = leaf.key;
    settings.client_ca = dir.file("no-ca.crt");
    EXPECT_EQ(failure_of(settings),
              "cannot load client CA '" + settings.client_ca + "': No such file or directory");

    ClientTlsSettings client_settings;
    client_settings.ca = dir.file("no-ca.crt");
    const auto made = make_client_context(client_settings);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().errc(), core::Errc::internal);
    EXPECT_EQ(made.error().detail(),
              "cannot load CA '" + client_settings.ca + "': No such file or directory");
}

TEST_F(TlsContext, EncryptedKeyIsRefusedWithoutAsking)
{
    const auto path = dir.file("locked.key");
    BIO* in = BIO_new_file(leaf.key.c_str(), "r");
    EVP_PKEY* key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    BIO* out = BIO_new_file(path.c_str(), "w");
    PEM_write_bio_PrivateKey(out, key, EVP_aes_128_cbc(), nullptr, 0, nullptr,
                             const_cast<char*>("secret"));
    BIO_free(out);
    EVP_PKEY_free(key);
    ServerTlsSettings settings;
    settings.certificate = leaf.certificate;
    settings.key = path;
    EXPECT_NE(failure_of(settings), "");
}

}  // namespace
}  // namespace llmproxy::net
