/// \file
/// A fake upstream that costs next to nothing: one thread, epoll, prepared replies.
///
/// `bench_upstream --certificate FILE --key FILE` listens on two free ports of 127.0.0.1 and
/// prints `{"plain":PORT,"tls":PORT}` once they are open. Routes: `POST /v1/chat/completions` and
/// `/v1/completions` (JSON, or events with `"stream":true`), `POST /v1/embeddings`,
/// `GET /v1/models`, `GET /bulk/BYTES` and `PUT /bulk/up` (much data either way), and `GET /stats` for what it has counted. Ends with its parent.

#include "message_parser.hpp"
#include "options.hpp"
#include "socket.hpp"
#include "upstream_replies.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace llmproxy::bench {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr int kBurstTurn = 16;  // events a connection may send before the others have their turn
constexpr std::uint64_t kBulkBlock = 256 * 1024;
constexpr std::string_view kBulk = "GET /bulk/";
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

struct Stream {
    StreamPlan plan;
    std::int64_t sent = 0;
    std::int64_t due = 0;
};

struct Connection {
    Socket socket;
    MessageParser parser{MessageParser::Kind::request};
    std::string unread;  // came while a stream was under way
    std::string out;
    std::size_t written = 0;
    std::uint64_t bulk = 0;  // bytes of a bulk reply that are still to be sent
    std::optional<Stream> stream;
    bool close_after_reply = false;
    std::uint64_t serial = 0;
};

struct Alarm {
    std::int64_t due = 0;
    int descriptor = -1;
    std::uint64_t serial = 0;

    friend bool operator>(const Alarm& left, const Alarm& right) { return left.due > right.due; }
};

struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t accepted_tls = 0;
    std::uint64_t requests = 0;
    std::uint64_t open = 0;
};

class Upstream {
public:
    Upstream(const std::string& certificate, const std::string& key)
        : tls_(TlsContext::server(certificate, key)), epoll_(::epoll_create1(EPOLL_CLOEXEC)),
          timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC))
    {
        std::uint16_t plain_port = 0;
        std::uint16_t tls_port = 0;
        plain_listener_ = listen_on_free_port(plain_port);
        tls_listener_ = listen_on_free_port(tls_port);
        for (const int descriptor : {plain_listener_, tls_listener_, timer_}) {
            watch(epoll_, descriptor, static_cast<std::uint64_t>(descriptor));
        }
        std::printf("{\"plain\":%u,\"tls\":%u}\n", plain_port, tls_port);
        std::fflush(stdout);
    }

    [[noreturn]] void run()
    {
        std::array<epoll_event, 512> events{};
        for (;;) {
            const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                           eager_.empty() ? -1 : 0);
            for (int index = 0; index < count; ++index) {
                dispatch(events[static_cast<std::size_t>(index)]);
            }
            const auto eager = std::exchange(eager_, {});
            for (const auto& [descriptor, serial] : eager) {
                if (Connection* connection = find(descriptor, serial)) {
                    advance(*connection);
                }
            }
            set_timer();
        }
    }

private:
    void dispatch(const epoll_event& event)
    {
        const int descriptor = static_cast<int>(event.data.u64);
        if (descriptor == plain_listener_ || descriptor == tls_listener_) {
            accept_all(descriptor);
        } else if (descriptor == timer_) {
            std::uint64_t expirations = 0;
            if (::read(timer_, &expirations, sizeof expirations) > 0) {
                armed_for_ = 0;
            }
            fire();
        } else if (Connection* connection = connections_[event.data.u64].get()) {
            const std::uint64_t serial = connection->serial;
            if (connection->written < connection->out.size() || connection->stream ||
                connection->bulk > 0) {
                advance(*connection);
            }
            if ((event.events & ~static_cast<unsigned>(EPOLLOUT)) != 0 &&
                find(descriptor, serial) != nullptr) {
                receive(*connection, (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
            }
        }
    }

    void accept_all(int listener)
    {
        for (;;) {
            const int descriptor =
                ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (descriptor < 0) {
                return;
            }
            const bool tls = listener == tls_listener_;
            ++counters_.accepted;
            counters_.accepted_tls += tls ? 1 : 0;
            ++counters_.open;
            const auto slot = static_cast<std::size_t>(descriptor);
            if (connections_.size() <= slot) {
                connections_.resize(slot + 256);
            }
            auto connection = std::make_unique<Connection>();
            connection->socket = Socket(descriptor, tls ? &tls_ : nullptr, true);
            connection->serial = ++last_serial_;
            connections_[slot] = std::move(connection);
            watch(epoll_, descriptor, slot);
        }
    }

    void receive(Connection& connection, bool until_end)
    {
        for (;;) {
            const IoResult result = connection.socket.read(buffer_.data(), buffer_.size());
            if (result.status == IoStatus::closed) {
                drop(connection);
                return;
            }
            if (result.status == IoStatus::again) {
                return;
            }
            if (!take(connection, std::string_view(buffer_.data(), result.bytes))) {
                return;
            }
            if (result.bytes < buffer_.size() && !connection.socket.is_tls() && !until_end) {
                return;
            }
        }
    }

    /// False if the connection is gone.
    bool take(Connection& connection, std::string_view data)
    {
        const int descriptor = connection.socket.descriptor();
        const std::uint64_t serial = connection.serial;
        while (!data.empty()) {
            if (connection.stream) {
                connection.unread.append(data);
                return true;
            }
            const auto taken = connection.parser.feed(data);
            if (!taken) {
                drop(connection);
                return false;
            }
            data.remove_prefix(*taken);
            if (connection.parser.has_head() && connection.parser.head().starts_with("PUT /bulk")) {
                connection.parser.body().clear();
            }
            if (connection.parser.is_complete()) {
                answer(connection);
                if (find(descriptor, serial) == nullptr) {
                    return false;
                }
            }
        }
        return true;
    }

    void answer(Connection& connection)
    {
        MessageParser& request = connection.parser;
        const std::string_view head = request.head();
        const std::string_view line = head.substr(0, head.find("\r\n"));
        connection.close_after_reply = !request.keeps_alive();
        if (line.starts_with("POST /v1/chat/completions") ||
            line.starts_with("POST /v1/completions")) {
            ++counters_.requests;
            if (const auto plan = stream_plan(request.body(), request.field("x-bench-sse"))) {
                connection.out.append(stream_head());
                connection.stream = Stream{*plan, 0, now_ns()};
            } else {
                connection.out.append(chat_reply());
            }
        } else if (line.starts_with("POST /v1/embeddings")) {
            ++counters_.requests;
            connection.out.append(embeddings_reply());
        } else if (line.starts_with("GET /stats")) {
            connection.out.append(json_reply(200, statistics()));
        } else if (line.starts_with(kBulk)) {
            ++counters_.requests;
            const std::string_view size = line.substr(kBulk.size());
            std::from_chars(size.data(), size.data() + size.size(), connection.bulk);
            connection.out.append("HTTP/1.1 200 OK\r\nContent-Length: " +
                                  std::to_string(connection.bulk) + "\r\n\r\n");
        } else if (line.starts_with("GET /v1/models") || line.starts_with("PUT /bulk")) {
            ++counters_.requests;
            connection.out.append(json_reply(200, R"({"object":"list","data":[]})"));
        } else {
            connection.out.append(json_reply(404, R"({"error":{"message":"no such route"}})"));
        }
        request.reset();
        advance(connection);
    }

    [[nodiscard]] std::string statistics() const
    {
        return "{\"accepted\":" + std::to_string(counters_.accepted) +
               ",\"accepted_tls\":" + std::to_string(counters_.accepted_tls) +
               ",\"requests\":" + std::to_string(counters_.requests) +
               ",\"open\":" + std::to_string(counters_.open) + "}";
    }

    /// Sends what is due and can be sent. May drop the connection.
    void advance(Connection& connection)
    {
        int turns = 0;
        for (;;) {
            while (connection.written < connection.out.size()) {
                const std::string_view left =
                    std::string_view(connection.out).substr(connection.written);
                const IoResult result = connection.socket.write(left);
                if (result.status == IoStatus::closed) {
                    drop(connection);
                    return;
                }
                if (result.status == IoStatus::again) {
                    return;
                }
                connection.written += result.bytes;
            }
            connection.out.clear();
            connection.written = 0;
            if (!connection.stream && connection.bulk == 0) {
                break;
            }
            if (++turns > kBurstTurn) {
                eager_.emplace_back(connection.socket.descriptor(), connection.serial);
                return;
            }
            if (connection.bulk > 0) {
                const auto now = std::min<std::uint64_t>(connection.bulk, kBulkBlock);
                connection.out.append(now, 'd');
                connection.bulk -= now;
            } else if (!next_piece(connection)) {
                return;
            }
        }
        if (connection.close_after_reply) {
            drop(connection);
        } else if (!connection.unread.empty()) {
            const std::string unread = std::exchange(connection.unread, {});
            take(connection, unread);
        }
    }

    /// Puts the stream's next piece into `out`, or sets an alarm for it and returns false.
    bool next_piece(Connection& connection)
    {
        Stream& stream = *connection.stream;
        const std::int64_t now = now_ns();
        if (stream.due > now) {
            alarms_.push({stream.due, connection.socket.descriptor(), connection.serial});
            return false;
        }
        if (stream.sent < stream.plan.events) {
            append_event(connection.out, now);
            ++stream.sent;
            stream.due += stream.plan.interval_ns;
            if (stream.sent == stream.plan.events) {
                stream.due = std::max(stream.due, now + stream.plan.silence_ns);
            }
            return true;
        }
        append_stream_end(connection.out, stream.plan.with_usage);
        connection.stream.reset();
        return true;
    }

    void fire()
    {
        while (!alarms_.empty() && alarms_.top().due <= now_ns()) {
            const Alarm alarm = alarms_.top();
            alarms_.pop();
            Connection* connection = find(alarm.descriptor, alarm.serial);
            // An event on the socket may have moved the stream on already.
            if (connection != nullptr && connection->stream &&
                connection->stream->due <= now_ns()) {
                advance(*connection);
            }
        }
    }

    void set_timer()
    {
        const std::int64_t due = alarms_.empty() ? 0 : alarms_.top().due;
        if (due == armed_for_ || due == 0) {
            return;
        }
        itimerspec when{};
        when.it_value.tv_sec = due / kNanosPerSecond;
        when.it_value.tv_nsec = due % kNanosPerSecond;
        ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &when, nullptr);
        armed_for_ = due;
    }

    Connection* find(int descriptor, std::uint64_t serial)
    {
        Connection* connection = connections_[static_cast<std::size_t>(descriptor)].get();
        return connection != nullptr && connection->serial == serial ? connection : nullptr;
    }

    void drop(Connection& connection)
    {
        --counters_.open;
        connections_[static_cast<std::size_t>(connection.socket.descriptor())].reset();
    }

    TlsContext tls_;
    int epoll_;
    int timer_;
    int plain_listener_ = -1;
    int tls_listener_ = -1;
    std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
    std::priority_queue<Alarm, std::vector<Alarm>, std::greater<>> alarms_;
    std::vector<std::pair<int, std::uint64_t>> eager_;  // bursts with more to send
    std::int64_t armed_for_ = 0;
    std::uint64_t last_serial_ = 0;
    Counters counters_;
    std::array<char, kReadSize> buffer_{};
};

}  // namespace
}  // namespace llmproxy::bench

int main(int count, char** arguments)
{
    using namespace llmproxy::bench;
    const Options options(count, arguments, "certificate key", "");
    prepare_process();
    const auto upstream =
        std::make_unique<Upstream>(options.text("certificate"), options.text("key"));
    upstream->run();
}
