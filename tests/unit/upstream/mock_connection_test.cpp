#include "mock_client.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>

#include <chrono>

namespace llmproxy::upstream {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kChat = "/v1/chat/completions";
constexpr auto kSoon =
    std::chrono::seconds(20);  // what a broken test waits, a passing one does not

std::string raw_chat(std::string_view version, std::string_view model, bool stream)
{
    const auto body = chat_request(model, "Hi", stream).dump();
    return "POST /v1/chat/completions HTTP/" + std::string(version) +
           "\r\nHost: mock\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST_F(MockProviderTest, ServesPipelinedRequestsInOrder)
{
    auto client = connect();
    client.send(raw_chat("1.1", "first", false) + raw_chat("1.1", "second", true) +
                raw_chat("1.1", "third", false));
    EXPECT_EQ(client.read_reply().json()["model"], "first");
    EXPECT_THAT(client.read_reply().body, HasSubstr(R"("model":"second")"));
    EXPECT_EQ(client.read_reply().json()["model"], "third");
}

TEST_F(MockProviderTest, TakesChunkedBodiesInAnyPieces)
{
    const auto body = chat_request("mock-gpt", "Hi").dump();
    std::string bytes =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const char byte : body) {
        bytes += std::string("1\r\n") + byte + "\r\n";
    }
    bytes += "0\r\n\r\n";
    auto client = connect();
    for (std::size_t at = 0; at < bytes.size(); at += 7) {
        client.send(std::string_view(bytes).substr(at, 7));
    }
    EXPECT_EQ(client.read_reply().status, 200);
    EXPECT_EQ(client.get("/v1/models").status, 200);
}

TEST_F(MockProviderTest, TakesBodiesLargerThanItsBuffer)
{
    auto client = connect();
    const auto reply = client.post(kChat, chat_request("mock-gpt", std::string(1'000'000, 'x')));
    EXPECT_EQ(reply.json()["usage"]["prompt_tokens"], 250'000);
    EXPECT_EQ(reply.json()["choices"][0]["message"]["content"].get<std::string>().size(), 4106U);
}

TEST_F(MockProviderTest, AsksForABodyThatWaitsToBeAsked)
{
    const auto body = chat_request("mock-gpt", "Hi").dump();
    auto client = connect();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nExpect: "
                "100-continue\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body);
    EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(MockProviderTest, ClosesAfterConnectionClose)
{
    auto client = connect();
    client.send("GET /v1/models HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n\r\n");
    const auto reply = client.read_reply();
    EXPECT_TRUE(reply.has("Connection: close"));
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(MockProviderTest, EndsStreamsToHttp10WithTheConnection)
{
    auto client = connect();
    client.send(raw_chat("1.0", "mock-gpt", true));
    const auto all = client.read_to_end();
    EXPECT_THAT(all, Not(HasSubstr("Transfer-Encoding")));
    EXPECT_THAT(all, HasSubstr("\r\n\r\ndata: {"));
    EXPECT_THAT(all, EndsWith("\n\ndata: [DONE]\n\n"));
}

TEST_F(MockProviderTest, RefusesMalformedMessagesAndCloses)
{
    const std::vector<std::string> malformed{"nonsense\r\n\r\n",
                                             "POST /v1/chat/completions HTTP/1.1\r\nHost: "
                                             "mock\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"};
    for (const auto& bytes : malformed) {
        auto client = connect();
        client.send(bytes);
        EXPECT_THAT(client.read_to_end(), StartsWith("HTTP/1.1 400 ")) << bytes;
    }
    auto client = connect();
    client.send("GET / HTTP/1.1\r\nHost: mock\r\nx: " + std::string(40'000, 'x'));
    EXPECT_THAT(client.read_to_end(), StartsWith("HTTP/1.1 431 "));
}

TEST_F(MockProviderTest, EndsWhenTheOtherSideLeaves)
{
    std::future<void> idle;
    std::future<void> mid_head;
    std::future<void> mid_body;
    {
        const auto first = connect(&idle);
        auto second = connect(&mid_head);
        second.send("GET /v1/mod");
        auto third = connect(&mid_body);
        third.send("POST /v1/files HTTP/1.1\r\nHost: mock\r\nContent-Length: 10\r\n\r\n123");
    }
    for (auto* ended : {&idle, &mid_head, &mid_body}) {
        ASSERT_EQ(ended->wait_for(kSoon), std::future_status::ready);
        EXPECT_NO_THROW(ended->get());
    }
}

TEST_F(MockProviderTest, StopsPacingWhenTheOtherSideLeaves)
{
    std::future<void> late;
    std::future<void> paced;
    {
        auto first = connect(&late);
        first.send(raw_chat("1.1", "mock-gpt?latency=3600s", false));
        auto second = connect(&paced);
        second.send(raw_chat("1.1", "mock-gpt?interval=3600s", true) + "GET /v1/models");
        EXPECT_THAT(second.read_until("\n\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
    }
    for (auto* ended : {&late, &paced}) {
        ASSERT_EQ(ended->wait_for(kSoon), std::future_status::ready);
        EXPECT_NO_THROW(ended->get());
    }
}

TEST_F(MockProviderTest, StopsABurstWhenTheOtherSideLeaves)
{
    std::future<void> ended;
    {
        auto client = connect(&ended);
        client.send(raw_chat("1.1", "mock-gpt?chunks=1000000&bytes=1000000", true));
        client.read_until("\n\n");
    }
    ASSERT_EQ(ended.wait_for(kSoon), std::future_status::ready);
    EXPECT_NO_THROW(ended.get());
}

TEST_F(MockProviderTest, EndsQuietlyWhenCancelled)
{
    for (const std::string model : {"", "mock-gpt?latency=3600s", "mock-gpt?interval=3600s"}) {
        boost::asio::io_context context;
        boost::asio::local::stream_protocol::socket ours(context);
        boost::asio::local::stream_protocol::socket theirs(context);
        boost::asio::local::connect_pair(ours, theirs);
        auto stream = std::make_shared<net::Stream>(net::Stream::Socket(std::move(theirs)));
        if (!model.empty()) {
            boost::asio::write(ours, boost::asio::buffer(raw_chat("1.1", model, true)));
        }
        bool ended = false;
        std::exception_ptr escaped;
        boost::asio::cancellation_signal signal;
        const auto on_end = [&ended, &escaped](std::exception_ptr thrown) {
            ended = true;
            escaped = std::move(thrown);
        };
        boost::asio::co_spawn(context, provider_->serve(stream),
                              boost::asio::bind_cancellation_slot(signal.slot(), on_end));
        context.poll();
        EXPECT_FALSE(ended);
        signal.emit(boost::asio::cancellation_type::terminal);
        context.run();
        EXPECT_TRUE(ended);
        EXPECT_FALSE(escaped);
        EXPECT_FALSE(stream->is_open());
    }
}

TEST_F(MockProviderTest, OutlivesItsProvider)
{
    auto client = connect();
    provider_.reset();
    EXPECT_EQ(client.post(kChat, chat_request("mock-gpt", "Hi")).status, 200);
}

TEST_F(MockProviderTest, ServesManyConnectionsAtOnce)
{
    std::vector<MockClient> clients;
    for (int i = 0; i < 64; ++i) {
        clients.push_back(connect());
        clients.back().send(raw_chat("1.1", "mock-gpt?interval=1ms", true));
    }
    for (auto& client : clients) {
        EXPECT_TRUE(client.read_reply().complete);
    }
}

}  // namespace
}  // namespace llmproxy::upstream
