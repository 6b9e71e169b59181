#pragma once

#include "support/wire.hpp"

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace llmproxy::test {

/// A QuickBackend in a process of its own, on one port for as long as this object lives. The test's `main` calls
/// `run_if_child` first.
/// Thread safety: none. Throws std::system_error when the system does not give what it needs.
class BackendProcess {
public:
    /// Starts it.
    BackendProcess();
    BackendProcess(const BackendProcess&) = delete;
    BackendProcess& operator=(const BackendProcess&) = delete;
    ~BackendProcess();

    [[nodiscard]] std::string url() const;
    /// SIGKILL; returns when it is gone.
    void kill();
    /// Returns when it listens.
    void start();

    /// In the process that `start` makes: serves until it is killed. Else returns.
    static void run_if_child(int argc, char** argv);

private:
    Fd reserved_;  // bound and not listening: the port is refused, but nobody else's, while the process is down
    std::uint16_t port_ = 0;
    pid_t process_ = -1;
};

}  // namespace llmproxy::test
