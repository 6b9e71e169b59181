#pragma once

#include "llmproxy/net/stream.hpp"
#include "llmproxy/net/watchdog.hpp"
#include "unit/net/loop.hpp"

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/this_coro.hpp>

#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace llmproxy::net::test {

/// A client and the session that serves it, as far as operations with a watchdog need one.
class Session {
    using Socket = boost::asio::local::stream_protocol::socket;

public:
    explicit Session(Loop& loop) : loop_(loop), client_(loop.io())
    {
        Socket near(loop.io());
        boost::asio::local::connect_pair(near, client_);
        stream_.emplace(Stream::Socket(std::move(near)));
    }

    /// Starts `work(Watchdog&)`, a coroutine, with a client that is watched.
    template <typename Work>
    auto start(Work work)
    {
        using Task = std::invoke_result_t<Work, Watchdog&>;
        return loop_.start(serve<Task>(*this, std::move(work)));
    }
    template <typename Work>
    auto run(Work work)
    {
        return start(std::move(work)).get();
    }

    void client_leaves() { client_.close(); }

private:
    template <typename Task, typename Work>
    static Task serve(Session& session, Work work)
    {
        const auto strand = co_await boost::asio::this_coro::executor;
        Watchdog watchdog(strand, *session.stream_);
        watchdog.watch_client(true);
        co_return co_await work(watchdog);
    }

    Loop& loop_;
    Socket client_;
    std::optional<Stream> stream_;
};

}  // namespace llmproxy::net::test
