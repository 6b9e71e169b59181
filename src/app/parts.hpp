#pragma once

#include "forward_parts.hpp"
#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/app/daemon.hpp"
#include "llmproxy/edge/server.hpp"
#include "llmproxy/handlers/handlers.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/task_group.hpp"
#include "llmproxy/net/worker_pool.hpp"
#include "llmproxy/otlp/exporter.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/telemetry/access_log.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/telemetry/recent_requests.hpp"
#include "llmproxy/upstream/backends.hpp"
#include "llmproxy/upstream/health_checks.hpp"
#include "management.hpp"
#include "store_parts.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

namespace llmproxy::app {

namespace asio = boost::asio;

[[nodiscard]] inline telemetry::Log& log()
{
    return telemetry::log("app");
}

/// The loop, whose waiting coroutines can be ended while all that they refer to is still there.
class Context : public asio::io_context {
public:
    using asio::io_context::io_context;
    void end_all() { shutdown(); }
};

/// What a daemon consists of, in the order in which it is made.
struct Daemon::Parts {
    explicit Parts(std::shared_ptr<const config::Snapshot> the_snapshot);

    [[nodiscard]] upstream::Surroundings surroundings()
    {
        return {context, *resolver, tasks, metrics, *clock, random};
    }
    core::Result<std::shared_ptr<const pipeline::Policies>>
    make_policies(const config::Snapshot& from, const upstream::Backends* before);
    core::Result<void> start(std::function<handlers::ReloadReport()> reload_from_file);
    void make_management(std::function<handlers::ReloadReport()> reload);
    void open_accounts();
    core::Result<void> open_traces(const std::string& instance);
    core::Task<void> flush_traces();
    core::Task<void> drain();
    core::Task<void> finish(bool complete);
    core::Task<void> sweep();
    core::Task<void> pause(asio::steady_timer& on, core::Duration time);
    void end(int code);

    [[nodiscard]] std::shared_ptr<const config::Snapshot> current() const
    {
        const std::lock_guard lock(latest_mutex);
        return latest;
    }

    std::shared_ptr<const config::Snapshot> snapshot;  // as started
    std::shared_ptr<const config::Snapshot> latest = snapshot;
    net::Lookup lookup = &net::system_lookup;
    std::shared_ptr<const core::Clock> clock = std::make_shared<core::RealClock>();
    policy::ThreadRandom random;
    bool all_workers = false;
    mutable std::mutex latest_mutex;
    std::mutex reload_mutex;
    Context context;
    asio::any_io_executor control;  // a strand: drain, stop, sweep
    asio::steady_timer timer;
    asio::steady_timer sweeper;
    telemetry::Metrics metrics;
    net::TaskGroup tasks;
    asio::thread_pool background{1};  // what takes longer than a stream may wait
    upstream::HealthChecks checks;
    telemetry::RecentRequests recent{snapshot->detail.recent_requests};
    std::unique_ptr<telemetry::AccessLog> access_log;
    std::unique_ptr<telemetry::BodyLog> body_log;
    std::unique_ptr<net::Resolver> resolver;
    std::unique_ptr<otlp::Exporter> exporter;   // null: no traces
    std::unique_ptr<telemetry::Tracer> tracer;  // together with it
    StoreParts store;
    std::unique_ptr<accounts::Accounts> accounts;
    std::unique_ptr<pipeline::Gateway> gateway;
    std::unique_ptr<handlers::Health> health;
    std::unique_ptr<handlers::MetricsPage> metrics_page;
    std::unique_ptr<handlers::OpenAi> openai;
    std::unique_ptr<ForwardParts> forward;
    std::unique_ptr<Management> management;
    edge::Routes routes;
    std::unique_ptr<edge::Server> server;
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work;
    std::optional<net::WorkerPool> workers;

    std::atomic<bool> draining{false};
    std::atomic<bool> stopping{false};
    std::mutex end_mutex;
    std::condition_variable ended;
    std::optional<int> exit_code;
};

}  // namespace llmproxy::app
