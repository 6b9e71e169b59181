#pragma once

#include "support/wire.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace llmproxy::test {

/// A plain HTTP/1.1 upstream on 127.0.0.1 that serves thousands of connections on one thread, each request by a rule.
/// Reads bodies with a length, as the gateway sends those that it holds.
/// Thread safety: every member may be called concurrently. Lifetime: the destructor ends all connections.
class QuickBackend {
public:
    struct Answer {
        int status = 200;
        std::chrono::milliseconds delay{0};
        std::string fields;  ///< complete lines
        std::string body = "{}";
    };
    /// \param number  of the request, from 0 on. Must not call the backend.
    using Rule = std::function<Answer(std::size_t number)>;

    explicit QuickBackend(Rule rule = {});
    /// On a socket that listens already.
    QuickBackend(Rule rule, Listening listening);
    QuickBackend(const QuickBackend&) = delete;
    QuickBackend& operator=(const QuickBackend&) = delete;
    ~QuickBackend();

    [[nodiscard]] std::uint16_t port() const noexcept { return listening_.port; }
    [[nodiscard]] std::string url() const;

    /// For requests from now on.
    void always(Rule rule);
    /// While on, requests are counted and wait; off, those that wait are answered by the rule.
    void hold(bool on);
    /// Opens the gate for each request that comes. Before the first one; the gate outlives the backend.
    void announce(Gate& gate);
    /// Answers the one that has waited longest; false if none waits.
    bool answer_one();

    [[nodiscard]] std::size_t request_count() const;
    /// Requests that came and were not answered yet.
    [[nodiscard]] std::size_t under_way() const;
    bool wait_requests(std::size_t count);

private:
    struct Connection {
        Fd fd;
        std::string in;
    };
    struct Due {
        std::size_t connection;
        std::size_t number;
    };

    void run();
    void accept_all();
    void read(std::size_t id);
    bool take_request(Connection& connection, std::size_t id);
    void plan(const Due& request);
    void send_due();
    void drop(std::size_t id);
    [[nodiscard]] int milliseconds_to_next();

    Listening listening_;
    Fd poll_;
    Gate wake_;
    std::map<std::size_t, Connection> open_;  // the backend's thread only
    std::size_t next_id_ = 2;                 // 0 and 1 are the listener's and the gate's

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    Rule rule_;
    Gate* announced_ = nullptr;
    std::deque<Due> waiting_;
    std::multimap<TestTime, std::pair<std::size_t, std::string>> due_;
    std::size_t requests_ = 0;
    std::size_t answered_ = 0;
    bool hold_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace llmproxy::test
