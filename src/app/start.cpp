#include "llmproxy/auth/authenticator.hpp"
#include "llmproxy/core/ids.hpp"
#include "llmproxy/pipeline/policies.hpp"
#include "llmproxy/version.hpp"
#include "parts.hpp"
#include "readiness.hpp"

#include <algorithm>
#include <csignal>
#include <exception>
#include <thread>

namespace llmproxy::app {
namespace {

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

}  // namespace

Daemon::Parts::Parts(std::shared_ptr<const config::Snapshot> the_snapshot)
    : snapshot(std::move(the_snapshot)), context(static_cast<int>(thread_count(*snapshot))),
      control(asio::make_strand(context)), timer(control), sweeper(control), metrics(kVersion),
      tasks(report_escape), checks(context, metrics, random, report_escape)
{
}

core::Result<std::shared_ptr<const pipeline::Policies>>
Daemon::Parts::make_policies(const config::Snapshot& from, const upstream::Backends* before)
{
    auto backends = upstream::Backends::make(from.upstream, from.policy, surroundings(), before);
    if (!backends) {
        return backends.error();
    }
    auto authenticator = std::make_shared<const auth::Authenticator>(from.auth, *accounts);
    auto settings = from.pipeline;
    const auto& bodies = snapshot->logging.bodies;  // as the log was opened
    settings.logged_body_bytes = bodies.enabled ? bodies.max_bytes : 0;
    return pipeline::make_policies(std::move(settings), from.policy, std::move(authenticator),
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

core::Result<void> Daemon::Parts::open_traces(const std::string& instance)
{
    const auto& settings = snapshot->tracing;
    if (settings.endpoint.empty()) {
        return {};
    }
    otlp::Exporter::Parts needs{*resolver,
                                metrics,
                                asio::make_strand(context),
                                background.get_executor(),
                                std::string(kVersion),
                                instance};
    auto made = otlp::Exporter::make(settings, std::move(needs));
    if (!made) {
        return made.error();
    }
    exporter = std::move(*made);
    tracer = std::make_unique<telemetry::Tracer>(*exporter, settings.sample_ratio);
    tasks.spawn(exporter->strand(), exporter->run());
    return {};
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
    parts.budget_of = [this](storage::Subject subject) { return accounts->budget_of(subject); };
    parts.backends = [this] { return gateway->policies()->backends; };
    parts.policies = [this] { return gateway->policies(); };
    parts.forward = [this] { return forward->proxy.policies(); };
    parts.metrics = &metrics;
    parts.recent = &recent;
    parts.draining = &draining;
    management = std::make_unique<Management>(std::move(parts), std::move(reload),
                                              background.get_executor(), snapshot->management);
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
    auto opened_bodies = telemetry::BodyLog::open(snapshot->logging.bodies);
    if (!opened_bodies) {
        return opened_bodies.error();
    }
    body_log = std::move(*opened_bodies);
    net::ResolverOptions resolving;
    resolving.observer = [this](core::Duration took) { metrics.looked_up(took); };
    resolver = std::make_unique<net::Resolver>(std::move(resolving), lookup);
    metrics.limit_models(snapshot->metrics.max_models);
    metrics.limit_projects(snapshot->metrics.max_projects);
    auto opened_store = open_store(snapshot->store, clock, metrics);
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
    auto traces = open_traces(instance);
    if (!traces) {
        return traces;
    }
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
        if (store.store) {
            collect_store(*store.store, into);
        }
        collect_budgets(*accounts, into);
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

    edge::ServerParts parts{context,     tasks,     routes, metrics,
                            *access_log, *body_log, recent, tracer.get()};
    server = std::make_unique<edge::Server>(parts, snapshot->server);
    auto listening = server->open();
    if (!listening) {
        return listening;
    }
    forward->destinations.listen_on(own_listeners(*server));
    tasks.spawn(control, management->greet(management_url(*server, snapshot->server)));
    work.emplace(asio::make_work_guard(context));
    tasks.spawn(control, sweep());
    checks.follow(*gateway->policies()->backends);
    const auto count = thread_count(*snapshot);
    workers.emplace(context, count);
    if (all_workers) {
        workers->run_all_for_test();
    }
    workers->start();
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

}  // namespace llmproxy::app
