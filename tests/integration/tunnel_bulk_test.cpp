// Much data, many tunnels, sides that do not read: the tunnel's data path.

#include "forward_support.hpp"
#include "llmproxy/net/pipe_pool.hpp"
#include "support/raw_origin.hpp"
#include "support/test_ca.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <thread>

using namespace llmproxy::test;
using llmproxy::net::Pipe;
using llmproxy::net::PipePool;

namespace {

constexpr std::size_t kBulk = std::size_t{24} << 20;

std::string pattern(std::size_t size, std::uint32_t state)
{
    std::string bytes(size, '\0');
    for (auto& byte : bytes) {
        state = state * 1664525U + 1013904223U;
        byte = static_cast<char>(state >> 24);
    }
    return bytes;
}

/// Sends and receives at the same time; what came until the other side ended.
std::string exchange_all(TestClient& client, const std::string& upwards)
{
    std::thread sender([&] {
        EXPECT_TRUE(client.wire().send(upwards));
        client.wire().half_close();
    });
    std::string got = std::move(client.buffer());
    auto end = ReadEnd::data;
    while (end == ReadEnd::data) {
        end = client.wire().read(got);
    }
    sender.join();
    EXPECT_EQ(end, ReadEnd::fin);
    return got;
}

class Bulk : public testing::Test {
protected:
    const std::string upwards = pattern(kBulk, 1);
    const std::string downwards = pattern(kBulk, 2);
    std::string arrived;
    Gate served;  // the origin's thread is through with what the test looks at
    RawOrigin origin{[this](Wire& wire) {
        std::thread sender([&] { wire.send(downwards); });
        while (arrived.size() < kBulk && wire.read(arrived) == ReadEnd::data) {}
        sender.join();
        served.open();
        wire.half_close();
    }};

    void expect_both_ways(ProxyUnderTest& proxy, TestClient client)
    {
        ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
        const auto got = exchange_all(client, upwards);
        EXPECT_TRUE(got == downwards) << got.size();
        ASSERT_TRUE(served.wait());
        EXPECT_TRUE(arrived == upwards) << arrived.size();
        const auto line = proxy.access_line_where("route", "connect");
        EXPECT_EQ(line["bytes_in"], kBulk);
        EXPECT_EQ(line["bytes_out"], kBulk);
    }
};

}  // namespace

TEST_F(Bulk, PlainBothWays)
{
    ProxyUnderTest proxy{forward_config({origin.port()})};
    expect_both_ways(proxy, proxy.connect());
    EXPECT_GT(PipePool::shared().size(), 0U) << "nothing went by splice";
}

TEST_F(Bulk, WithoutPipes)
{
    std::vector<Pipe> all;
    for (auto pipe = PipePool::shared().borrow(); pipe; pipe = PipePool::shared().borrow()) {
        all.push_back(std::move(pipe));
    }
    ProxyUnderTest proxy{forward_config({origin.port()})};
    expect_both_ways(proxy, proxy.connect());
}

TEST_F(Bulk, TlsToTheProxy)
{
    TestCa ca;
    const auto leaf = ca.issue();
    auto config = forward_config({origin.port()});
    config.listen("    - { name: main, address: \"127.0.0.1:0\", serve: [forward], tls: { "
                  "certificate: \"" +
                  leaf.certificate + "\", key: \"" + leaf.key + "\" } }\n");
    ProxyUnderTest proxy{config};
    const auto context = ca.client();
    TestClient client(proxy.port(), context, "localhost");
    ASSERT_TRUE(client.tls_ok());
    ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
    // One direction at a time: a Wire's TLS is for one thread.
    std::string got = std::move(client.buffer());
    while (got.size() < kBulk && client.wire().read(got) == ReadEnd::data) {}
    EXPECT_TRUE(got == downwards);
    EXPECT_TRUE(client.wire().send(upwards));
    std::string rest;
    EXPECT_EQ(client.wire().read(rest), ReadEnd::fin);
    ASSERT_TRUE(served.wait());
    EXPECT_TRUE(arrived == upwards);
}

TEST(TunnelLoad, ManyTunnelsAtOnce)
{
    constexpr int kTunnels = 200;
    RawOrigin origin(echo);
    ProxyUnderTest proxy{forward_config({origin.port()})};
    std::vector<TestClient> clients;
    for (int i = 0; i < kTunnels; ++i) {
        clients.push_back(proxy.connect());
        ASSERT_EQ(open_tunnel(clients.back(), origin.port()).status, 200);
    }
    for (int i = 0; i < kTunnels; ++i) {
        clients[static_cast<std::size_t>(i)].send("tunnel " + std::to_string(i));
    }
    for (int i = 0; i < kTunnels; ++i) {
        auto& client = clients[static_cast<std::size_t>(i)];
        const auto mine = "tunnel " + std::to_string(i);
        EXPECT_TRUE(client.read_until([&](std::string_view got) { return got == mine; }));
    }
    // Each has carried something, so each is counted.
    EXPECT_EQ(proxy.metric("llmproxy_tunnels_active"), kTunnels);
    for (auto& client : clients) {
        client.wire().half_close();
        EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    }
    EXPECT_EQ(proxy.access_line_where("route", "connect")["tunnel"], "client_closed");
}

TEST(TunnelLoad, ASideThatDoesNotReadStopsTheOther)
{
    Gate read_on;
    RawOrigin origin([&](Wire& wire) {
        read_on.wait();
        std::string bytes;
        while (wire.read(bytes) == ReadEnd::data) {}
        wire.send(std::to_string(bytes.size()));
        wire.half_close();
    });
    ProxyUnderTest proxy{forward_config({origin.port()})};
    auto client = proxy.connect();
    ASSERT_EQ(open_tunnel(client, origin.port()).status, 200);
    const std::string block(64 * 1024, 'b');
    std::size_t sent = 0;
    bool full = false;
    while (!full && sent < (std::size_t{256} << 20)) {
        const long now = client.wire().send_now(block);
        ASSERT_GE(now, 0);
        sent += static_cast<std::size_t>(now);
        pollfd item{client.wire().fd(), POLLOUT, 0};
        full = now == 0 && ::poll(&item, 1, 500) == 0;
    }
    EXPECT_TRUE(full) << "the proxy took everything";
    read_on.open();
    client.wire().half_close();
    EXPECT_EQ(client.read_to_end(), ReadEnd::fin);
    EXPECT_EQ(client.buffer(), std::to_string(sent));
}
