#pragma once

#include "support/wire.hpp"

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace llmproxy::test {

/// A TCP server on 127.0.0.1 that speaks no protocol: each connection runs the script on a thread of its own.
/// Thread safety: every member may be called concurrently.
/// Lifetime: the destructor ends all connections and joins the threads.
class RawOrigin {
public:
    using Script = std::function<void(Wire&)>;

    explicit RawOrigin(Script script);
    RawOrigin(const RawOrigin&) = delete;
    RawOrigin& operator=(const RawOrigin&) = delete;
    ~RawOrigin();

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::size_t connection_count() const noexcept { return accepted_; }
    /// Scripts that are still running.
    [[nodiscard]] std::size_t running() const noexcept { return running_; }

private:
    void accept_loop();

    Script script_;
    Listening listening_;
    std::uint16_t port_;
    Gate stop_;
    std::atomic<std::size_t> accepted_{0};
    std::atomic<std::size_t> running_{0};
    std::mutex mutex_;
    std::map<std::size_t, Wire*> open_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

/// Sends back what comes until the other side ends, then ends too.
void echo(Wire& wire);

}  // namespace llmproxy::test
