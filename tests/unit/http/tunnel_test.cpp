// The relay alone, between socket pairs: what the daemon's tests cannot hold still.

#include "llmproxy/http/tunnel.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace llmproxy;
using http::TunnelEnd;

namespace {

namespace asio = boost::asio;

/// Two connected TCP sockets: the far end is a plain blocking descriptor.
struct Link {
    explicit Link(asio::io_context& context)
    {
        asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
        asio::ip::tcp::socket far(context);
        far.connect(acceptor.local_endpoint());
        asio::ip::tcp::socket close(context);
        acceptor.accept(close);
        near = std::make_unique<net::Stream>(net::Stream::Socket(std::move(close)));
        fd = ::dup(far.native_handle());
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;
    ~Link() { close(); }

    void close()
    {
        if (fd >= 0) {
            ::close(std::exchange(fd, -1));
        }
    }
    void reset()
    {
        const linger hard{1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close();
    }
    void send(std::string_view bytes) const
    {
        while (!bytes.empty()) {
            const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                return;
            }
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    /// Until the end; `reset_seen` tells how it was.
    std::string receive()
    {
        std::string all;
        std::string block(65536, '\0');
        for (;;) {
            const auto got = ::recv(fd, block.data(), block.size(), 0);
            if (got <= 0) {
                reset_seen = got < 0;
                return all;
            }
            all.append(block, 0, static_cast<std::size_t>(got));
        }
    }

    std::unique_ptr<net::Stream> near;
    int fd = -1;
    bool reset_seen = false;
};

class TunnelRelay : public testing::Test {
protected:
    TunnelRelay() { std::signal(SIGPIPE, SIG_IGN); }  // as the daemon does
    ~TunnelRelay() override { finish(); }

    void start(core::Duration idle = std::chrono::minutes(1))
    {
        asio::co_spawn(strand, relay(idle), [this](std::exception_ptr escaped) {
            EXPECT_FALSE(escaped);
            // As the session does it.
            client.near->close();
            upstream.near->close();
        });
        runner = std::thread([this] { context.run(); });
    }
    core::Task<void> relay(core::Duration idle)
    {
        net::Watchdog dog(strand, *client.near);
        watchdog = &dog;
        co_await http::relay_tunnel(*client.near, client_first, *upstream.near, upstream_first, dog,
                                    idle, traffic);
        watchdog = nullptr;
    }
    /// Waits until the relay is over.
    void finish()
    {
        if (runner.joinable()) {
            runner.join();
        }
    }

    asio::io_context context;
    asio::any_io_executor strand{asio::make_strand(context)};
    Link client{context};
    Link upstream{context};
    net::Buffer client_first;
    net::Buffer upstream_first;
    net::Watchdog* watchdog = nullptr;
    http::TunnelTraffic traffic;
    std::thread runner;
};

void put(net::Buffer& buffer, std::string_view bytes)
{
    const auto room = buffer.prepare();
    std::copy(bytes.begin(), bytes.end(), room.begin());
    buffer.commit(bytes.size());
}

}  // namespace

TEST_F(TunnelRelay, SendsFirstWhatWasReadBefore)
{
    put(client_first, "hello ");
    put(upstream_first, "greeting ");
    start();
    client.send("world");
    ::shutdown(client.fd, SHUT_WR);
    EXPECT_EQ(upstream.receive(), "hello world");
    upstream.send("bye");
    ::shutdown(upstream.fd, SHUT_WR);
    EXPECT_EQ(client.receive(), "greeting bye");
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::client_closed);
    EXPECT_EQ(traffic.from_client, 11U);
    EXPECT_EQ(traffic.from_upstream, 12U);
    EXPECT_FALSE(client.reset_seen || upstream.reset_seen);
}

TEST_F(TunnelRelay, MovesMuchDataUnchanged)
{
    std::string much(std::size_t{20} << 20, '\0');
    for (std::size_t i = 0; i < much.size(); ++i) {
        much[i] = static_cast<char>((i * 2654435761U) >> 13);
    }
    start();
    std::thread sender([&] {
        client.send(much);
        ::shutdown(client.fd, SHUT_WR);
    });
    EXPECT_TRUE(upstream.receive() == much);
    sender.join();
    ::shutdown(upstream.fd, SHUT_WR);
    EXPECT_EQ(client.receive(), "");
    finish();
    EXPECT_EQ(traffic.from_client, much.size());
}

TEST_F(TunnelRelay, AResetOfTheClientResetsTheUpstream)
{
    start();
    client.reset();
    upstream.receive();
    EXPECT_TRUE(upstream.reset_seen);
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::client_reset);
}

TEST_F(TunnelRelay, AResetOfTheUpstreamResetsTheClient)
{
    start();
    upstream.reset();
    client.receive();
    EXPECT_TRUE(client.reset_seen);
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::upstream_reset);
}

TEST_F(TunnelRelay, WhoClosedAndAnswersWithResetHasClosed)
{
    start();
    client.close();
    upstream.receive();
    // The client is gone: bytes for it are answered with a reset, which reaches the upstream.
    while (::send(upstream.fd, "xxxxxxxx", 8, MSG_NOSIGNAL) > 0) {}
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::client_closed);
}

TEST_F(TunnelRelay, AResetWhileTheOtherSideDoesNotReadIsSeen)
{
    start();
    const std::string block(1 << 20, 'x');
    ::fcntl(client.fd, F_SETFL, ::fcntl(client.fd, F_GETFL) | O_NONBLOCK);
    for (;;) {
        if (::send(client.fd, block.data(), block.size(), MSG_NOSIGNAL) <= 0) {
            pollfd item{client.fd, POLLOUT, 0};
            if (::poll(&item, 1, 300) == 0) {
                break;  // the upstream takes no more
            }
        }
    }
    client.reset();
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::client_reset);
}

TEST_F(TunnelRelay, IdleEndsInAResetOfBoth)
{
    start(std::chrono::milliseconds(50));
    client.receive();
    upstream.receive();
    EXPECT_TRUE(client.reset_seen);
    EXPECT_TRUE(upstream.reset_seen);
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::idle_timeout);
}

TEST_F(TunnelRelay, AStoppedWatchdogDrains)
{
    start();
    asio::post(strand, [this] { watchdog->stop(); });
    client.receive();
    EXPECT_TRUE(client.reset_seen);
    finish();
    EXPECT_EQ(traffic.end, TunnelEnd::drained);
}
