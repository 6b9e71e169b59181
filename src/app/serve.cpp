#include "llmproxy/app/serve.hpp"

#include "llmproxy/app/daemon.hpp"
#include "llmproxy/config/load.hpp"
#include "llmproxy/telemetry/log.hpp"

#include <atomic>
#include <csignal>
#include <ostream>
#include <thread>

namespace llmproxy::app {
namespace {

telemetry::Log& log()
{
    return telemetry::log("app");
}

/// Waits for signals on a thread of its own; SIGUSR1 after `done` ends it.
void watch_signals(Daemon& daemon, const sigset_t& signals, const std::atomic<bool>& done)
{
    bool draining = false;
    for (;;) {
        int signal = 0;
        if (::sigwait(&signals, &signal) != 0) {
            continue;
        }
        if (done) {
            return;
        }
        switch (signal) {
        case SIGHUP:
            daemon.reload_from_file();
            daemon.reopen_logs();
            break;
        case SIGUSR1: daemon.reopen_logs(); break;
        default:
            log().info({}, "signal", {{"signal", signal}});
            if (draining) {
                daemon.stop_now();
            } else {
                draining = true;
                daemon.drain();
            }
        }
    }
}

}  // namespace

int run_serve(const std::string& config_path, std::ostream& err)
{
    const auto loaded = config::load_with_files(config_path, config::process_environment());
    if (!loaded.snapshot) {
        for (const auto& problem : loaded.problems) {
            err << problem.to_string() << "\n";
        }
        return 1;
    }
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
        sigaddset(&signals, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    Daemon daemon(loaded.snapshot);
    const auto started = daemon.start();
    if (!started) {
        err << "llm-proxy: cannot start: " << started.error().describe() << "\n";
        return 1;
    }
    std::atomic<bool> done{false};
    std::thread watcher([&] { watch_signals(daemon, signals, done); });
    const int code = daemon.wait();
    done = true;
    ::pthread_kill(watcher.native_handle(), SIGUSR1);
    watcher.join();
    return code;
}

}  // namespace llmproxy::app
