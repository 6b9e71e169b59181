#include "llmproxy/app/daemon.hpp"

#include "forward_parts.hpp"
#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/auth/authenticator.hpp"
#include "llmproxy/config/load.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/edge/server.hpp"
#include "llmproxy/handlers/handlers.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/task_group.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/pipeline/policies.hpp"
#include "llmproxy/telemetry/access_log.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/upstream/backends.hpp"
#include "llmproxy/upstream/health_checks.hpp"
#include "llmproxy/version.hpp"
#include "management.hpp"
#include "readiness.hpp"
#include "store_parts.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <condition_variable>
#include <csignal>
#include <thread>

namespace llmproxy::app {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kLook{20};  // how often a drain looks whether all has finished
constexpr std::chrono::seconds kSweep{1};       // how often pools are swept
constexpr std::chrono::seconds kLastWait{5};    // for sessions to end once they were told to
constexpr int kCutShort = 3;

telemetry::Log& log()
{
    return telemetry::log("app");
}

unsigned thread_count(const config::Snapshot& snapshot)
{
    if (snapshot.server.threads != 0) {
        return snapshot.server.threads;
    }
    return std::max(1U, std::thread::hardware_concurrency());
}

void report_escape(std::exception_ptr escaped)
{
    try {
        std::rethrow_exception(escaped);
    } catch (const std::exception& error) {
        log().error({}, "an exception ended a task", {{"error", error.what()}});
    } catch (...) {
        log().error({}, "an unknown exception ended a task");
    }
}

/// The loop, whose waiting coroutines can be ended while all that they refer to is still there.
class Context : public asio::io_context {
public:
    using asio::io_context::io_context;
    void end_all() { shutdown(); }
};

}  // namespace

struct Daemon::Parts {
    explicit Parts(std::shared_ptr<const config::Snapshot> the_snapshot)
        : snapshot(std::move(the_snapshot)), context(static_cast<int>(thread_count(*snapshot))),
          control(asio::make_strand(context)), timer(control), sweeper(control), metrics(kVersion),
          tasks(report_escape), checks(context, metrics, random, report_escape)
    {
    }

    [[nodiscard]] upstream::Surroundings surroundings()
    {
        return {context, *resolver, tasks, metrics, *clock, random};
    }
    core::Result<std::shared_ptr<const pipeline::Policies>>
    make_policies(const config::Snapshot& from, const upstream::Backends* before);
    core::Result<void> start(std::function<handlers::ReloadReport()> reload_from_file);
    void make_management(std::function<handlers::ReloadReport()> reload);
    void open_accounts();
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
    std::unique_ptr<telemetry::AccessLog> access_log;
    std::unique_ptr<net::Resolver> resolver;
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
    std::vector<std::thread> threads;

    std::atomic<bool> draining{false};
    std::atomic<bool> stopping{false};
    std::mutex end_mutex;
    std::condition_variable ended;
    std::optional<int> exit_code;
};

core::Result<std::shared_ptr<const pipeline::Policies>>
Daemon::Parts::make_policies(const config::Snapshot& from, const upstream::Backends* before)
{
    auto backends = upstream::Backends::make(from.upstream, from.policy, surroundings(), before);
    if (!backends) {
        return backends.error();
    }
    auto authenticator = std::make_shared<const auth::Authenticator>(from.auth, *accounts);
    return pipeline::make_policies(from.pipeline, from.policy, std::move(authenticator),
                                   store.store ? accounts.get() : nullptr, store.keys.get(),
                                   std::move(*backends));
}

void Daemon::Parts::open_accounts()
{
    accounts::Accounts::Options options;
    options.settings = snapshot->accounts;
    options.static_accounts = auth::static_accounts(snapshot->auth);
    options.store = store.store;
    options.clock = clock;
    options.on_soft_limit = report_soft_limit;
    accounts = std::make_unique<accounts::Accounts>(std::move(options));
}

void Daemon::Parts::make_management(std::function<handlers::ReloadReport()> reload)
{
    handlers::ManageParts parts;
    parts.clock = clock;
    parts.store = store.store;
    parts.vault = store.vault;
    parts.store_path = snapshot->store.path;
    parts.changed = [this](storage::Subject subject) {
        tell_changed(*accounts, subject);
        if (store.keys && subject.kind == storage::SubjectKind::project) {
            store.keys->changed(core::ProjectId{subject.id});
        }
    };
    parts.ended = [this](storage::Subject subject) { tell_ended(*accounts, subject); };
    parts.backends = [this] { return gateway->policies()->backends; };
    management =
        std::make_unique<Management>(std::move(parts), std::move(reload), snapshot->management);
    management->add_to(routes);
}

core::Result<void> Daemon::Parts::start(std::function<handlers::ReloadReport()> reload_from_file)
{
    std::signal(SIGPIPE, SIG_IGN);
    auto configured = telemetry::configure(snapshot->logging);
    if (!configured) {
        return configured;
    }
    auto opened = telemetry::AccessLog::open(snapshot->logging.access_log);
    if (!opened) {
        return opened.error();
    }
    access_log = std::move(*opened);
    net::ResolverOptions resolving;
    resolving.observer = [this](core::Duration took) { metrics.looked_up(took); };
    resolver = std::make_unique<net::Resolver>(std::move(resolving), lookup);
    metrics.limit_models(snapshot->metrics.max_models);
    auto opened_store = open_store(snapshot->store, clock);
    if (!opened_store) {
        return opened_store.error();
    }
    store = std::move(*opened_store);
    open_accounts();
    auto policies = make_policies(*snapshot, nullptr);
    if (!policies) {
        return policies.error();
    }
    const auto instance = core::random_hex(4);
    gateway = std::make_unique<pipeline::Gateway>(std::move(*policies), instance);
    auto forwarding = make_forward_policies(*snapshot, gateway->policies());
    if (!forwarding) {
        return forwarding.error();
    }
    forward = std::make_unique<ForwardParts>(*resolver, metrics, instance, std::move(*forwarding));
    metrics.on_collect([this](telemetry::Metrics& into) {
        into.set_queued_requests(gateway->queued());
        into.set_access_log_dropped(access_log->dropped());
        collect_backends(*gateway->policies()->backends, into);
        for (const auto& [listener, left] : server->certificates()) {
            into.show_certificate(listener, left);
        }
    });
    health = std::make_unique<handlers::Health>(
        [this] { return readiness_of(*gateway->policies()->backends, draining); });
    metrics_page = std::make_unique<handlers::MetricsPage>(metrics, background.get_executor());
    openai = std::make_unique<handlers::OpenAi>(*gateway);
    routes.add(edge::Role::gateway, "/v1/", *openai);
    for (const auto* path : {"/healthz", "/livez", "/readyz"}) {
        routes.add(edge::Role::health, path, *health);
    }
    routes.add(edge::Role::metrics, "/metrics", *metrics_page);
    make_management(std::move(reload_from_file));
    forward->add_to(routes);

    edge::ServerParts parts{context, tasks, routes, metrics, *access_log};
    server = std::make_unique<edge::Server>(parts, snapshot->server);
    auto listening = server->open();
    if (!listening) {
        return listening;
    }
    forward->destinations.listen_on(own_listeners(*server));
    work.emplace(asio::make_work_guard(context));
    tasks.spawn(control, sweep());
    checks.follow(*gateway->policies()->backends);
    const auto count = thread_count(*snapshot);
    for (unsigned i = 0; i < count; ++i) {
        threads.emplace_back([this] { context.run(); });
    }
    for (const auto& warning : snapshot->warnings) {
        log().warn({}, "configuration", {{"warning", warning}});
    }
    for (const auto& listener : snapshot->server.listeners) {
        log().info({}, "listening",
                   {{"listener", listener.name},
                    {"address", listener.address},
                    {"port", server->port(listener.name)},
                    {"tls", listener.tls.has_value()}});
    }
    log().info({}, "started", {{"version", kVersion}, {"threads", count}});
    return {};
}

core::Task<void> Daemon::Parts::pause(asio::steady_timer& on, core::Duration time)
{
    on.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(time));
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    [[maybe_unused]] auto [code] = co_await on.async_wait(token);
}

core::Task<void> Daemon::Parts::sweep()
{
    while (!stopping) {
        co_await pause(sweeper, kSweep);
        const auto policies = gateway->policies();
        for (const auto& backend : policies->backends->all()) {
            backend->sweep(std::chrono::steady_clock::now());
        }
        forward->proxy.pool().sweep(std::chrono::steady_clock::now());
    }
}

core::Task<void> Daemon::Parts::drain()
{
    server->start_draining();
    log().info({}, "draining", {{"active", server->active_requests()}});
    const auto settings = current();
    if (settings->server.drain_delay > core::Duration::zero() && !stopping) {
        co_await pause(timer, settings->server.drain_delay);
    }
    server->close_listeners(false);
    const auto until =
        core::Deadline::after(std::chrono::steady_clock::now(), settings->server.drain_timeout);
    while (server->active_requests() > 0 && !stopping &&
           !until.passed(std::chrono::steady_clock::now())) {
        co_await pause(timer, kLook);
    }
    const bool complete = server->active_requests() == 0;
    co_await finish(complete);
}

core::Task<void> Daemon::Parts::finish(bool complete)
{
    server->close_listeners(true);
    stopping = true;
    sweeper.cancel();
    checks.stop();
    if (complete) {
        server->close_idle();
    } else {
        log().warn({}, "ending requests that are still running",
                   {{"active", server->active_requests()}});
        server->stop_sessions();
    }
    const auto until = core::Deadline::after(std::chrono::steady_clock::now(), kLastWait);
    while (server->connections() > 0 && !until.passed(std::chrono::steady_clock::now())) {
        server->stop_sessions();
        co_await pause(timer, kLook);
    }
    if (!co_await checks.join(until)) {
        log().error({}, "checks of backends did not end");
    }
    for (const auto& backend : gateway->policies()->backends->all()) {
        backend->close_idle();
    }
    forward->proxy.pool().close_idle();
    log().info({}, "ended", {{"complete", complete}});
    end(complete ? 0 : kCutShort);
}

void Daemon::Parts::end(int code)
{
    const std::lock_guard lock(end_mutex);
    exit_code = code;
    ended.notify_all();
}

Daemon::Daemon(std::shared_ptr<const config::Snapshot> snapshot)
    : parts_(std::make_unique<Parts>(std::move(snapshot)))
{
}

Daemon::~Daemon()
{
    if (!parts_->threads.empty()) {
        stop_now();
        wait();
    }
}

void Daemon::resolve_with_for_test(net::Lookup lookup)
{
    parts_->lookup = std::move(lookup);
}

void Daemon::tell_time_for_test(std::shared_ptr<const core::Clock> clock)
{
    parts_->clock = std::move(clock);
}

core::Result<void> Daemon::start()
{
    return parts_->start([this] { return reload_from_file(); });
}

std::uint16_t Daemon::port(std::string_view listener) const
{
    return parts_->server->port(listener);
}

void Daemon::drain()
{
    if (!parts_->draining.exchange(true)) {
        parts_->tasks.spawn(parts_->control, parts_->drain());
    }
}

void Daemon::stop_now()
{
    parts_->stopping = true;
    drain();
    asio::post(parts_->control, [parts = parts_.get()] { parts->timer.cancel(); });
}

int Daemon::wait()
{
    auto& parts = *parts_;
    int code = 0;
    {
        std::unique_lock lock(parts.end_mutex);
        parts.ended.wait(lock, [&] { return parts.exit_code.has_value(); });
        code = *parts.exit_code;
    }
    parts.tasks.cancel_all();
    parts.work.reset();
    parts.context.stop();
    for (auto& thread : parts.threads) {
        thread.join();
    }
    parts.threads.clear();
    parts.background.join();
    parts.management->stop();
    parts.context.end_all();  // what is left holds grants, which end before the accounts
    parts.resolver.reset();
    parts.access_log->flush();
    telemetry::flush_logs();
    return code;
}

core::Result<void> Daemon::reload(std::shared_ptr<const config::Snapshot> snapshot)
{
    auto& parts = *parts_;
    const std::lock_guard lock(parts.reload_mutex);
    const auto running = parts.gateway->policies();
    auto policies = parts.make_policies(*snapshot, running->backends.get());
    auto failed = policies ? core::Result<void>() : core::Result<void>(policies.error());
    std::shared_ptr<const handlers::ForwardPolicies> forwarding;
    if (!failed.has_error()) {
        auto made = make_forward_policies(*snapshot, *policies);
        if (made) {
            forwarding = std::move(*made);
        } else {
            failed = made.error();
        }
    }
    if (!failed.has_error()) {
        failed = parts.server->reload(snapshot->server);
    }
    if (failed.has_error()) {
        parts.metrics.config_reload(false);
        log().error({}, "reload failed, the running configuration stays",
                    {{"error", failed.error().describe()}});
        return failed;
    }
    parts.accounts->replace(snapshot->accounts, auth::static_accounts(snapshot->auth));
    parts.gateway->replace(std::move(*policies));
    if (!parts.stopping) {
        parts.checks.follow(*parts.gateway->policies()->backends);
    }
    parts.management->replace(snapshot->management);
    telemetry::set_level(snapshot->logging.level);
    parts.metrics.limit_models(snapshot->metrics.max_models);
    {
        const std::lock_guard latest(parts.latest_mutex);
        parts.latest = snapshot;
    }
    parts.forward->proxy.replace(std::move(forwarding));
    for (const auto& key : config::needs_restart(*parts.snapshot, *snapshot)) {
        log().warn({}, "a changed setting takes effect at the next start", {{"key", key}});
    }
    for (const auto& warning : snapshot->warnings) {
        log().warn({}, "configuration", {{"warning", warning}});
    }
    parts.metrics.config_reload(true);
    log().info({}, "configuration reloaded", {{"file", snapshot->file}});
    return {};
}

handlers::ReloadReport Daemon::reload_from_file()
{
    handlers::ReloadReport report;
    const auto loaded =
        config::load_with_files(parts_->snapshot->file, config::process_environment());
    for (const auto& problem : loaded.problems) {
        report.problems.push_back(problem.to_string());
        log().error({}, "reload failed, the running configuration stays",
                    {{"problem", report.problems.back()}});
    }
    if (!loaded.snapshot) {
        parts_->metrics.config_reload(false);
        return report;
    }
    const auto reloaded = reload(loaded.snapshot);
    if (!reloaded) {
        report.problems.push_back(reloaded.error().describe());
        return report;
    }
    report.warnings = loaded.snapshot->warnings;
    report.needs_restart = config::needs_restart(*parts_->snapshot, *loaded.snapshot);
    return report;
}

core::Result<void> Daemon::order_circuit(std::string_view backend, policy::CircuitOrder order)
{
    return parts_->gateway->order_circuit(backend, order);
}

void Daemon::reopen_logs()
{
    parts_->access_log->reopen();
    auto reopened = telemetry::reopen_logs();
    if (!reopened) {
        log().error({}, "the log file could not be opened again",
                    {{"error", reopened.error().describe()}});
    }
}

}  // namespace llmproxy::app
