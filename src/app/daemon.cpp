#include "llmproxy/app/daemon.hpp"

#include "llmproxy/auth/authenticator.hpp"
#include "llmproxy/config/load.hpp"
#include "parts.hpp"

#include <boost/asio/post.hpp>

namespace llmproxy::app {

Daemon::Daemon(std::shared_ptr<const config::Snapshot> snapshot)
    : parts_(std::make_unique<Parts>(std::move(snapshot)))
{
}

Daemon::~Daemon()
{
    if (parts_->workers) {
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

void Daemon::run_all_workers_for_test()
{
    parts_->all_workers = true;
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
    parts.workers->join();
    parts.workers.reset();
    parts.background.join();
    parts.context.end_all();  // what is left holds grants, which end before the accounts
    parts.resolver.reset();
    parts.access_log->flush();
    parts.body_log->flush();
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
    parts.access_log->set_sample(snapshot->logging.access_log.sample);
    parts.metrics.limit_models(snapshot->metrics.max_models);
    parts.metrics.limit_projects(snapshot->metrics.max_projects);
    if (parts.tracer) {
        parts.tracer->set_ratio(snapshot->tracing.sample_ratio);
    }
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
    parts_->body_log->reopen();
    auto reopened = telemetry::reopen_logs();
    if (!reopened) {
        log().error({}, "the log file could not be opened again",
                    {{"error", reopened.error().describe()}});
    }
}

}  // namespace llmproxy::app
