#pragma once

#include "llmproxy/config/snapshot.hpp"
#include "llmproxy/core/clock.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/handlers/manage.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/policy/circuit_breaker.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace llmproxy::app {

/// The whole program but its command line: builds every part from a configuration, runs it, reloads and drains it.
///
/// Thread safety: `port`, `drain`, `stop_now`, `reload`, `order_circuit` and `reopen_logs` may be called from any thread once `start` has
/// succeeded; `start` and `wait` from the owner's.
class Daemon {
public:
    explicit Daemon(std::shared_ptr<const config::Snapshot> snapshot);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    /// Ends at once what still runs.
    ~Daemon();

    /// Names are looked up by `lookup` in place of the system. Before `start`.
    void resolve_with_for_test(net::Lookup lookup);
    /// Circuits and resting keys follow `clock` in place of the machine's. Before `start`.
    void tell_time_for_test(std::shared_ptr<const core::Clock> clock);

    /// All threads run from the start, whatever there is to do. Before `start`.
    void run_all_workers_for_test();

    /// Opens files and listeners and starts the threads. All or nothing; the failure's detail says what was wrong.
    core::Result<void> start();
    /// The port a listener is on; 0 if there is none of that name.
    [[nodiscard]] std::uint16_t port(std::string_view listener) const;

    /// As SIGTERM: refuse new connections, let what is in flight finish until drain_timeout, then end.
    void drain();
    /// As a second SIGTERM: end now.
    void stop_now();
    /// Blocks until ended. 0: all finished; 3: the drain time ran out or was cut short.
    int wait();

    /// As SIGHUP: new requests follow `snapshot`. Fails, and changes nothing, if a part cannot be made from it.
    core::Result<void> reload(std::shared_ptr<const config::Snapshot> snapshot);
    /// As an operator does: pipeline::Gateway::order_circuit.
    core::Result<void> order_circuit(std::string_view backend, policy::CircuitOrder order);

    /// The same with the file that the running configuration came from: what SIGHUP and the management API do.
    /// Blocks on the disk. What was wrong is in the report and in the log.
    handlers::ReloadReport reload_from_file();
    /// As SIGUSR1.
    void reopen_logs();

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace llmproxy::app
