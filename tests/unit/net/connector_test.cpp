#include "llmproxy/net/connector.hpp"

#include "llmproxy/net/tls_context.hpp"
#include "loop.hpp"
#include "support/test_ca.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using core::Deadline;
using core::Errc;
using core::Task;
using llmproxy::test::TestCa;
using test::Loop;
using ContextPtr = std::shared_ptr<SSL_CTX>;

Deadline in(core::Duration limit)
{
    return Deadline::after(std::chrono::steady_clock::now(), limit);
}

Deadline soon()
{
    return in(std::chrono::milliseconds(20));
}

tcp::endpoint loopback(std::uint16_t port = 0)
{
    return {asio::ip::make_address("127.0.0.1"), port};
}

/// An address whose SYNs are dropped: a listener whose queue is full.
class BlackHole {
public:
    explicit BlackHole(asio::io_context& io) : listener_(io), filler_(io)
    {
        listener_.open(tcp::v4());
        listener_.bind(loopback());
        listener_.listen(0);
        filler_.connect(listener_.local_endpoint());
        pollfd queued{listener_.native_handle(), POLLIN, 0};
        ::poll(&queued, 1, -1);
    }
    [[nodiscard]] tcp::endpoint endpoint() const { return listener_.local_endpoint(); }

private:
    tcp::acceptor listener_;
    tcp::socket filler_;
};

/// An address that refuses: bound, not listening.
class Refuser {
public:
    explicit Refuser(asio::io_context& io) : socket_(io, loopback()) {}
    [[nodiscard]] tcp::endpoint endpoint() const { return socket_.local_endpoint(); }

private:
    tcp::socket socket_;
};

std::size_t open_descriptors()
{
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::uint16_t port_of(const Stream& stream)
{
    tcp::endpoint endpoint;
    socklen_t size = static_cast<socklen_t>(endpoint.capacity());
    ::getpeername(const_cast<Stream&>(stream).socket().native_handle(), endpoint.data(), &size);
    return endpoint.port();
}

/// Accepts one connection, optionally acts as an egress proxy (reads a head, answers `reply`),
/// optionally makes a TLS handshake, and reads to the end. Gives the proxy request's head, or "tls
/// failed".
Task<std::string> serve_one(tcp::acceptor& acceptor, std::string reply, ContextPtr context)
{
    auto socket = co_await acceptor.async_accept(asio::use_awaitable);
    Stream stream{Stream::Socket(std::move(socket))};
    std::array<char, 1024> piece;
    std::string head;
    if (!reply.empty()) {
        while (head.find("\r\n\r\n") == std::string::npos) {
            const auto got = co_await stream.read_some(piece);
            if (!got || *got == 0) {
                co_return head;
            }
            head.append(piece.data(), *got);
        }
        (void)co_await stream.write(std::string_view(reply));
    }
    if (context) {
        const auto secured = co_await stream.accept_tls(context);
        if (!secured) {
            co_return "tls failed";
        }
    }
    for (;;) {
        const auto got = co_await stream.read_some(piece);
        if (!got || *got == 0) {
            co_return head;
        }
    }
}

class Connector : public testing::Test {
protected:
    Connector() : acceptor(loop.io(), loopback()) {}

    [[nodiscard]] std::uint16_t port() const { return acceptor.local_endpoint().port(); }

    std::future<std::string> serve(std::string reply, ContextPtr context)
    {
        return loop.start(serve_one(acceptor, std::move(reply), std::move(context)));
    }
    ContextPtr server_context(const TestCa::Leaf& identity)
    {
        ServerTlsSettings settings;
        settings.certificate = identity.certificate;
        settings.key = identity.key;
        return make_server_context(settings).value();
    }
    ContextPtr client_context()
    {
        ClientTlsSettings settings;
        settings.ca = ca.certificate();
        return make_client_context(settings).value();
    }
    core::Result<Stream> dial(ConnectTarget target, Deadline deadline = Deadline())
    {
        return loop.run(connect(resolver, std::move(target), deadline));
    }
    /// The failure of a TLS connection to `host` (always 127.0.0.1) served with `identity`.
    core::Failure tls_failure(const std::string& host, const TestCa::Leaf& identity)
    {
        auto served = serve("", server_context(identity));
        auto stream = dial(ConnectTarget(host, port(), client_context()));
        if (stream) {
            stream->close();
        }
        EXPECT_FALSE(stream);
        const auto failure = stream ? core::Failure() : stream.error();
        stream = core::Failure();
        served.get();
        return failure;
    }

    TestCa ca{"ca"};
    TestCa other_ca{"other"};
    // Used by a coroutine to its end, hence before the loop.
    std::promise<Errc> ended;
    std::promise<void> started;
    Loop loop;
    Resolver resolver{{}, [](const std::string&) {
                          LookupResult result;
                          result.addresses.push_back(asio::ip::make_address("127.0.0.1"));
                          return result;
                      }};
    tcp::acceptor acceptor;
};

TEST(InterleaveFamilies, AlternatesFromTheFirstFamily)
{
    const tcp::endpoint a4(asio::ip::make_address("192.0.2.1"), 1);
    const tcp::endpoint b4(asio::ip::make_address("192.0.2.2"), 1);
    const tcp::endpoint a6(asio::ip::make_address("2001:db8::1"), 1);
    const tcp::endpoint b6(asio::ip::make_address("2001:db8::2"), 1);
    const tcp::endpoint c6(asio::ip::make_address("2001:db8::3"), 1);
    using List = std::vector<tcp::endpoint>;
    EXPECT_EQ(interleave_families(List{a6, b6, c6, a4, b4}), (List{a6, a4, b6, b4, c6}));
    EXPECT_EQ(interleave_families(List{a4, b4, a6}), (List{a4, a6, b4}));
    EXPECT_EQ(interleave_families(List{}), List{});
}

TEST_F(Connector, ConnectsWithTheSocketOptionsWeWant)
{
    auto stream = loop.run(connect_tcp({acceptor.local_endpoint()}, Deadline()));
    ASSERT_TRUE(stream);
    const int fd = stream->socket().native_handle();
    const auto option = [fd](int level, int name) {
        int value = 0;
        socklen_t size = sizeof value;
        ::getsockopt(fd, level, name, &value, &size);
        return value;
    };
    EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(Connector, PassesABlackHole)
{
    const BlackHole hole(loop.io());
    const auto before = open_descriptors();
    {
        auto stream = loop.run(connect_tcp({hole.endpoint(), acceptor.local_endpoint()},
                                           in(std::chrono::seconds(60))));
        ASSERT_TRUE(stream) << stream.error().describe();
        EXPECT_EQ(port_of(*stream), port());
        EXPECT_EQ(open_descriptors(), before + 1);  // the loser's socket is gone
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Connector, TriesTheNextAtOnceAfterARefusal)
{
    const Refuser refuser(loop.io());
    // At 250 ms each, the good one would come after the deadline.
    std::vector<tcp::endpoint> endpoints(400, refuser.endpoint());
    endpoints.push_back(acceptor.local_endpoint());
    auto stream = loop.run(connect_tcp(endpoints, in(std::chrono::seconds(90))));
    ASSERT_TRUE(stream) << stream.error().describe();
    EXPECT_EQ(port_of(*stream), port());
}

TEST_F(Connector, ReportsEveryRefusal)
{
    const Refuser one(loop.io());
    const Refuser two(loop.io());
    const auto stream = loop.run(connect_tcp({one.endpoint(), two.endpoint()}, Deadline()));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().errc(), Errc::upstream_connect_failed);
    EXPECT_EQ(stream.error().cause(), asio::error::connection_refused);
    for (const auto& endpoint : {one.endpoint(), two.endpoint()}) {
        const auto text = "127.0.0.1:" + std::to_string(endpoint.port()) + ": ";
        EXPECT_NE(stream.error().detail().find(text), std::string::npos);
    }
}

TEST_F(Connector, GivesUpAtTheDeadline)
{
    const BlackHole hole(loop.io());
    const auto before = open_descriptors();
    const auto stream = loop.run(connect_tcp({hole.endpoint(), hole.endpoint()}, soon()));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().errc(), Errc::upstream_connect_failed);
    EXPECT_EQ(stream.error().cause(), asio::error::timed_out);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Connector, NoAddressIsAFailure)
{
    const auto stream = loop.run(connect_tcp({}, Deadline()));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().errc(), Errc::upstream_connect_failed);
}

TEST_F(Connector, CancellationClosesEveryAttempt)
{
    const BlackHole hole(loop.io());
    const auto before = open_descriptors();
    const auto strand = asio::make_strand(loop.io());
    const auto cancel = std::make_shared<asio::cancellation_signal>();  // shared with the task
    auto task = [](tcp::endpoint to, std::promise<void>& begun,
                   std::promise<Errc>& told) -> Task<void> {
        const auto executor = co_await asio::this_coro::executor;
        // Runs when the task below has begun to wait.
        asio::post(executor, [&begun] { begun.set_value(); });
        std::vector<tcp::endpoint> endpoints(2, to);
        const auto stream = co_await connect_tcp(std::move(endpoints), Deadline());
        told.set_value(stream ? Errc::none : stream.error().errc());
    };
    asio::co_spawn(
        strand, task(hole.endpoint(), started, ended),
        asio::bind_cancellation_slot(cancel->slot(), [cancel](const std::exception_ptr&) {}));
    started.get_future().get();
    asio::post(strand, [cancel] { cancel->emit(asio::cancellation_type::terminal); });
    EXPECT_EQ(ended.get_future().get(), Errc::cancelled);
    EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Connector, VerifiesNameAndSpeaksTls)
{
    auto served = serve("", server_context(ca.issue("DNS:api.test")));
    {
        auto stream = dial(ConnectTarget("api.test", port(), client_context()));
        ASSERT_TRUE(stream) << stream.error().describe();
        EXPECT_TRUE(stream->is_tls());
        EXPECT_STREQ(SSL_get_servername(stream->ssl(), TLSEXT_NAMETYPE_host_name), "api.test");
    }
    EXPECT_EQ(served.get(), "");
}

TEST_F(Connector, VerifiesAddresses)
{
    auto served = serve("", server_context(ca.issue("IP:127.0.0.1")));
    EXPECT_TRUE(dial(ConnectTarget("127.0.0.1", port(), client_context())));
    served.get();
    EXPECT_EQ(tls_failure("127.0.0.1", ca.issue("IP:127.0.0.2")).errc(), Errc::upstream_tls_failed);
}

TEST_F(Connector, RefusesCertificatesThatDoNotFit)
{
    const auto mismatch = tls_failure("api.test", ca.issue("DNS:other.test"));
    EXPECT_EQ(mismatch.errc(), Errc::upstream_tls_failed);
    EXPECT_NE(mismatch.detail().find("hostname mismatch"), std::string::npos) << mismatch.detail();

    const auto foreign = tls_failure("api.test", other_ca.issue("DNS:api.test"));
    EXPECT_EQ(foreign.errc(), Errc::upstream_tls_failed);
    EXPECT_NE(foreign.detail().find("unable to get local issuer"), std::string::npos)
        << foreign.detail();

    const auto expired = tls_failure("api.test", ca.issue("DNS:api.test", -10, -1));
    EXPECT_EQ(expired.errc(), Errc::upstream_tls_failed);
    EXPECT_NE(expired.detail().find("expired"), std::string::npos) << expired.detail();
}

TEST_F(Connector, SilentTlsServerIsGivenUpAtTheDeadline)
{
    auto served = serve("", nullptr);
    const auto stream = dial(ConnectTarget("api.test", port(), client_context()), soon());
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().errc(), Errc::upstream_connect_failed);
    EXPECT_EQ(stream.error().cause(), asio::error::timed_out);
    // Where the deadline passed before the connection was made, nobody was served.
    loop.run(connect_tcp({acceptor.local_endpoint()}, Deadline())).value().close();
    served.get();
}

TEST_F(Connector, TunnelsThroughAnEgressProxy)
{
    auto served =
        serve("HTTP/1.1 200 OK\r\nX: y\r\n\r\n", server_context(ca.issue("DNS:api.test")));
    EgressProxy proxy("proxy.test", port(), nullptr, core::Secret("Basic Zm9v"));
    {
        auto stream = dial(ConnectTarget("api.test", 443, client_context(), proxy));
        ASSERT_TRUE(stream) << stream.error().describe();
        EXPECT_TRUE(stream->is_tls());
    }
    EXPECT_EQ(served.get(), "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n"
                            "Proxy-Authorization: Basic Zm9v\r\n\r\n");
}

TEST_F(Connector, TunnelsPlainlyToAnAddressInBrackets)
{
    auto served = serve("HTTP/1.0 200\r\n\r\n", nullptr);
    EXPECT_TRUE(dial(ConnectTarget("[::1]", 80, nullptr, EgressProxy("proxy.test", port()))));
    EXPECT_EQ(served.get(), "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
}

TEST_F(Connector, ReportsWhatAnEgressProxyAnswers)
{
    struct Case {
        const char* reply;
        const char* detail;
    };
    const std::string endless = "HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'x');
    for (const auto& [reply, detail] :
         {Case{"HTTP/1.1 407 No\r\n\r\n", "refused CONNECT with status 407"},
          Case{"HTTP/1.1 200 OK\r\n\r\nextra", "more than a head"},
          Case{"SSH-2.0-nothing here\r\n\r\n", "did not answer in HTTP/1"},
          Case{endless.c_str(), "more than a head"}}) {
        auto served = serve(reply, nullptr);
        const auto stream =
            dial(ConnectTarget("api.test", 443, nullptr, EgressProxy("proxy.test", port())));
        ASSERT_FALSE(stream);
        EXPECT_EQ(stream.error().errc(), Errc::upstream_connect_failed);
        EXPECT_NE(stream.error().detail().find(detail), std::string::npos)
            << stream.error().detail();
        served.get();
    }
}

TEST_F(Connector, RefusesTlsInsideTlsAndInjectedLines)
{
    const EgressProxy secure("proxy.test", port(), client_context());
    const auto nested = dial(ConnectTarget("api.test", 443, client_context(), secure));
    ASSERT_FALSE(nested);
    EXPECT_NE(nested.error().detail().find("not supported"), std::string::npos);

    auto served = serve("HTTP/1.1 200 OK\r\n\r\n", nullptr);
    const EgressProxy proxy("proxy.test", port());
    EXPECT_FALSE(dial(ConnectTarget("api.test\r\nX: y", 443, nullptr, proxy)));
    EXPECT_EQ(served.get(), "");
}

}  // namespace
}  // namespace llmproxy::net
