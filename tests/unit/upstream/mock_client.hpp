#pragma once

#include "llmproxy/net/stream.hpp"
#include "llmproxy/upstream/mock_provider.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/strand.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <exception>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace llmproxy::upstream {

/// A reply as it came over the wire.
struct WireReply {
    int status = 0;
    std::string head;
    std::string body;                 ///< without chunk framing
    std::vector<std::string> chunks;  ///< of a chunked body
    bool complete = false;            ///< the body ended as its framing says

    [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body); }
    [[nodiscard]] bool has(std::string_view line) const
    {
        return head.find("\r\n" + std::string(line) + "\r\n") != std::string::npos;
    }
};

/// A blocking client with a socket of its own. Reads give up after 20 s, so that a failure does not
/// hang.
class MockClient {
public:
    explicit MockClient(int descriptor) : descriptor_(descriptor)
    {
        const timeval limit{20, 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    MockClient(MockClient&& other) noexcept
        : descriptor_(std::exchange(other.descriptor_, -1)), pending_(std::move(other.pending_))
    {
    }
    MockClient& operator=(MockClient&&) = delete;
    ~MockClient() { close(); }

    void send(std::string_view bytes)
    {
        while (!bytes.empty()) {
            const auto sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) {
                return;
            }
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    void close()
    {
        if (descriptor_ >= 0) {
            ::close(std::exchange(descriptor_, -1));
        }
    }
    void finish_sending() { ::shutdown(descriptor_, SHUT_WR); }

    /// Everything up to and including `end`; what there is at the end of the connection.
    std::string read_until(std::string_view end)
    {
        std::size_t at = 0;
        while ((at = pending_.find(end)) == std::string::npos) {
            if (!fill()) {
                return std::exchange(pending_, {});
            }
        }
        return take(at + end.size());
    }
    std::string read_to_end()
    {
        while (fill()) {}
        return std::exchange(pending_, {});
    }

    WireReply read_reply()
    {
        WireReply reply;
        reply.head = read_until("\r\n\r\n");
        if (reply.head.size() < 12) {
            return reply;
        }
        reply.status = std::stoi(reply.head.substr(9, 3));
        const auto length = reply.head.find("Content-Length: ");
        if (reply.has("Transfer-Encoding: chunked")) {
            read_chunks(reply);
        } else if (length != std::string::npos) {
            const auto wanted = std::stoul(reply.head.substr(length + 16));
            while (pending_.size() < wanted && fill()) {}
            reply.complete = pending_.size() >= wanted;
            reply.body = take(std::min(wanted, pending_.size()));
        }
        return reply;
    }

    WireReply post(std::string_view path, const nlohmann::json& body)
    {
        return post(path, "application/json", body.dump());
    }
    WireReply post(std::string_view path, std::string_view type, std::string_view body)
    {
        send("POST " + std::string(path) + " HTTP/1.1\r\nHost: mock\r\nContent-Type: " +
             std::string(type) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
        send(body);
        return read_reply();
    }
    WireReply get(std::string_view path)
    {
        send("GET " + std::string(path) + " HTTP/1.1\r\nHost: mock\r\n\r\n");
        return read_reply();
    }

private:
    void read_chunks(WireReply& reply)
    {
        for (;;) {
            const auto line = read_until("\r\n");
            std::size_t size = 0;
            const auto parsed = std::from_chars(line.data(), line.data() + line.size(), size, 16);
            if (!line.ends_with("\r\n") || parsed.ec != std::errc()) {
                return;
            }
            while (pending_.size() < size + 2) {
                if (!fill()) {
                    return;
                }
            }
            const auto data = take(size + 2);
            if (size == 0) {
                reply.complete = data == "\r\n";
                return;
            }
            reply.body += data.substr(0, size);
            reply.chunks.push_back(data.substr(0, size));
        }
    }
    std::string take(std::size_t count)
    {
        auto taken = pending_.substr(0, count);
        pending_.erase(0, count);
        return taken;
    }
    bool fill()
    {
        char room[16 * 1024];
        const auto got = ::recv(descriptor_, room, sizeof room, 0);
        if (got > 0) {
            pending_.append(room, static_cast<std::size_t>(got));
        }
        return got > 0;
    }

    int descriptor_;
    std::string pending_;
};

/// A provider that serves on a thread of its own.
class MockProviderTest : public ::testing::Test {
protected:
    MockProviderTest() : guard_(context_.get_executor()), thread_([this] { context_.run(); }) {}
    ~MockProviderTest() override
    {
        guard_.reset();
        context_.stop();
        thread_.join();
    }

    void configure(MockSettings settings) { provider_ = std::make_unique<MockProvider>(settings); }

    /// A new connection; `ended` gets ready when the provider has left it.
    MockClient connect(std::future<void>* ended = nullptr)
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
            throw std::runtime_error("socketpair");
        }
        const auto strand = boost::asio::make_strand(context_);
        boost::asio::local::stream_protocol::socket local(
            strand, boost::asio::local::stream_protocol(), ends[0]);
        auto stream = std::make_shared<net::Stream>(net::Stream::Socket(std::move(local)));
        auto done = std::make_shared<std::promise<void>>();
        if (ended != nullptr) {
            *ended = done->get_future();
        }
        boost::asio::co_spawn(strand, provider_->serve(std::move(stream)),
                              [done](const std::exception_ptr& escaped) {
                                  if (escaped) {
                                      done->set_exception(escaped);
                                  } else {
                                      done->set_value();
                                  }
                              });
        return MockClient(ends[1]);
    }

    std::unique_ptr<MockProvider> provider_ = std::make_unique<MockProvider>(MockSettings());

private:
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
    std::thread thread_;
};

inline nlohmann::json chat_request(std::string_view model, std::string_view text,
                                   bool stream = false)
{
    nlohmann::json message = {{"role", "user"}, {"content", text}};
    nlohmann::json request = {{"model", model}, {"stream", stream}};
    request["messages"].push_back(std::move(message));
    return request;
}

}  // namespace llmproxy::upstream
