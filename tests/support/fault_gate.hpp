#pragma once

#include "support/wire.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace llmproxy::test {

/// What a FaultGate does to connections. The counts are per direction and connection.
struct Faults {
    static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

    bool reset_on_accept = false;
    bool black_hole = false;  ///< accepted, nothing is passed on or answered
    bool hold = false;        ///< nothing passes until `release`
    std::size_t split = 0;    ///< pass pieces of so many bytes; 0: as they come
    std::size_t cut_to_target_after = kNever;
    std::size_t cut_to_client_after = kNever;
    bool cut_with_reset = false;  ///< else FIN on both sides
};

/// A TCP hop on 127.0.0.1 that passes bytes on to `target`, until told to misbehave.
/// Thread safety: every member may be called concurrently. New faults hold for new connections.
class FaultGate {
public:
    explicit FaultGate(std::uint16_t target, Faults faults = {});
    FaultGate(const FaultGate&) = delete;
    FaultGate& operator=(const FaultGate&) = delete;
    ~FaultGate();

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    void set(Faults faults);
    /// Lets held connections go on.
    void release();
    /// Ends every connection that is open now.
    void cut_all(bool with_reset);
    [[nodiscard]] std::size_t connection_count() const noexcept { return accepted_; }

private:
    void accept_loop();
    void serve(std::size_t id, Fd fd, Faults faults);

    std::uint16_t target_;
    Listening listening_;
    std::uint16_t port_;
    Gate stop_;
    Gate released_;
    std::atomic<bool> stopping_{false};
    std::atomic<std::size_t> accepted_{0};

    mutable std::mutex mutex_;
    Faults faults_;
    struct Open {
        Gate* cut;
        bool with_reset = false;
    };
    std::map<std::size_t, Open> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

/// A port on 127.0.0.1 where nobody listens.
[[nodiscard]] std::uint16_t dead_port();

/// A port whose connects get no answer: its accept queue is full, so that SYNs are dropped.
class SilentPort {
public:
    /// On a port of the system's choice unless given.
    explicit SilentPort(const std::string& address = "127.0.0.1", std::uint16_t port = 0);
    [[nodiscard]] std::uint16_t port() const noexcept { return listening_.port; }

private:
    Listening listening_;
    std::vector<Fd> fillers_;
};

}  // namespace llmproxy::test
