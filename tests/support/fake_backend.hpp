#pragma once

#include "support/http_text.hpp"
#include "support/wire.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace llmproxy::test {

/// A request as a backend saw it.
struct SeenRequest {
    std::size_t connection = 0;
    Head head;
    std::string body;
    std::vector<std::string> chunks;  ///< of a chunked body, as framed on the wire
    bool chunked = false;
    bool whole = false;  ///< the body came to its end
};

/// What a script does with one request. Every call returns false once the other side is gone or the backend stops.
/// Used on the connection's thread alone.
class Exchange {
public:
    [[nodiscard]] const SeenRequest& request() const noexcept { return seen_; }
    [[nodiscard]] std::size_t connection() const noexcept { return seen_.connection; }

    /// A whole response with Content-Length.
    bool reply(int status, std::string_view body, std::string_view more_fields = {});
    bool json(std::string_view body, int status = 200);
    /// The head of a chunked reply; `piece` and `last` follow.
    bool begin_chunked(int status = 200, std::string_view more_fields = {});
    bool begin_sse() { return begin_chunked(200, "Content-Type: text/event-stream\r\n"); }
    bool piece(std::string_view bytes) { return raw(as_chunk(bytes)); }
    bool last() { return raw("0\r\n\r\n"); }
    /// Bytes as they are.
    bool raw(std::string_view bytes);
    /// Waits for `gate`.
    bool wait(Gate& gate);
    /// Does nothing until the other side closes; true if it did.
    bool stall();
    /// Reads the body now; only with `FakeBackend::leave_bodies`.
    bool read_body();
    /// One raw read of what follows the head (after 101).
    bool read_raw(std::string& into);
    /// Ends the connection: FIN, RST.
    void close();
    void reset();
    /// FIN without close_notify.
    void close_abruptly();
    [[nodiscard]] Wire& wire() noexcept { return wire_; }

private:
    friend class FakeBackend;
    Exchange(class FakeBackend& owner, Wire& wire, std::string& buffer)
        : owner_(owner), wire_(wire), buffer_(buffer)
    {
    }
    bool fill();
    bool take(std::size_t count, std::string& into);
    bool take_line(std::string& into);

    FakeBackend& owner_;
    Wire& wire_;
    std::string& buffer_;
    SeenRequest seen_;
    bool body_read_ = false;
    bool over_ = false;
};

/// A scripted HTTP/1.1 upstream on a loopback address, plain or TLS, one thread per connection.
/// Thread safety: every member may be called concurrently; set scripts before the requests they are for.
/// Lifetime: the destructor ends all connections and joins the threads; what a script refers to lives as long, so
/// scripts take the test's own values by copy.
class FakeBackend {
public:
    using Script = std::function<void(Exchange&)>;

    explicit FakeBackend(Script script = {}, std::shared_ptr<SSL_CTX> tls = nullptr,
                         const std::string& address = "127.0.0.1");
    FakeBackend(const FakeBackend&) = delete;
    FakeBackend& operator=(const FakeBackend&) = delete;
    ~FakeBackend();

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// `http(s)://address:port` + path; with another name for the address if given.
    [[nodiscard]] std::string url(std::string_view path = "/v1",
                                  const std::string& host = {}) const;

    /// The script of every request that has none of its own.
    void always(Script script);
    /// The script of the next request that has none yet.
    void next(Script script);
    /// Scripts run after the head; they read the body themselves.
    void leave_bodies(bool leave) { leave_bodies_ = leave; }

    [[nodiscard]] std::vector<SeenRequest> requests() const;
    /// The last request; an empty one if there was none.
    [[nodiscard]] SeenRequest last_request() const;
    [[nodiscard]] std::size_t request_count() const;
    [[nodiscard]] std::size_t connection_count() const;
    /// Bytes that came in over all connections, parsed or not.
    [[nodiscard]] std::size_t bytes_seen() const noexcept { return bytes_seen_; }
    /// Reasons of failed TLS handshakes.
    [[nodiscard]] std::vector<std::string> tls_failures() const;
    /// The server name of the last handshake.
    [[nodiscard]] std::string last_sni() const;
    [[nodiscard]] bool saw_client_certificate() const;

    bool wait_requests(std::size_t count);
    bool wait_connections(std::size_t count);
    /// When the other side closed that connection; nothing if it has not within `limit`.
    std::optional<TestTime> wait_closed(std::size_t connection,
                                        std::chrono::milliseconds limit = kGuard);

private:
    friend class Exchange;
    void accept_loop();
    void serve(std::size_t id, Fd fd);
    bool serve_one(Exchange& exchange);
    Script script_for_next();
    void note_closed(std::size_t id);

    std::shared_ptr<SSL_CTX> tls_;
    std::string host_;  // as in a URL
    Listening listening_;
    std::uint16_t port_;
    Gate stop_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> leave_bodies_{false};
    std::atomic<std::size_t> bytes_seen_{0};

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    Script always_;
    std::deque<Script> next_;
    std::vector<SeenRequest> seen_;
    std::vector<std::optional<TestTime>> closed_;
    std::vector<std::string> tls_failures_;
    std::string sni_;
    bool client_certificate_ = false;
    std::map<std::size_t, Wire*> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace llmproxy::test
