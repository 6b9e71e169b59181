#include "llmproxy/telemetry/metrics.hpp"

#include "gen_ai_metrics.hpp"
#include "process_figures.hpp"
#include "series_store.hpp"
#include "series_table.hpp"
#include "time_histogram.hpp"

#include <prometheus/text_serializer.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using Index = SeriesStore::Index;

/// How long one backend's requests take, for who asks for percentiles.
struct BackendTimes {
    TimeHistogram duration;
    TimeHistogram first_byte;
};

/// What one finished request touches.
struct RequestSeries {
    Index requests;
    Index duration;
    Index first_byte;
    BackendTimes* times;  // null: no backend
};

struct TokenSeries {
    Index input;
    Index output;
    Index cached;
    Index reasoning;
};

}  // namespace

struct Metrics::State {
    SeriesStore store;

    Index overhead = store.with(Metric::proxy_overhead, {});
    Index active = store.with(Metric::active_requests, {});
    Index queued = store.with(Metric::queued_requests, {});
    Index tunnels_active = store.with(Metric::tunnels_active, {});
    Index disconnects = store.with(Metric::client_disconnects, {});
    Index retry_wait = store.with(Metric::retry_wait, {});
    Index dns = store.with(Metric::dns, {});
    Index bytes_from_client = store.with(Metric::tunnel_bytes, {"from_client"});
    Index bytes_from_upstream = store.with(Metric::tunnel_bytes, {"from_upstream"});
    Index dropped = store.with(Metric::log_dropped, {"access"});
    Index reload_ok = store.with(Metric::config_reloads, {"ok"});
    Index reload_failed = store.with(Metric::config_reloads, {"failed"});
    Index commits = store.with(Metric::store_commit, {});

    SeriesTable<RequestSeries, 4096> request_series;
    SeriesTable<TokenSeries, 512> token_series;
    SeriesTable<Index, 256> connection_series;
    SeriesTable<Index, 128> rejection_series;
    SeriesTable<Index, 2048> connect_series;
    SeriesTable<Index, 512> reuse_series;
    SeriesTable<Index, 1024> check_series;
    SeriesTable<Index, 2048> attempt_series;
    SeriesTable<Index, 512> truncated_series;
    SeriesTable<Index, 16> handshake_series;
    SeriesTable<Index, 16> tunnel_series;
    SeriesTable<Index, 16> refusal_series;
    SeriesTable<Index, 16> trace_series;
    SeriesTable<Index, 4096> cost_series;

    LabelNames projects{0};
    std::atomic<bool> names_projects{false};

    GenAiMetrics gen_ai{store};

    mutable std::mutex times_mutex;
    std::map<std::string, BackendTimes, std::less<>> times;  // entries stay where they are

    std::mutex collect_mutex;  // one rendering at a time
    std::vector<std::function<void(Metrics&)>> collectors;

    RequestSeries make_request_series(const SeriesKey& key)
    {
        const auto status = std::to_string(key.number);
        return {store.with(Metric::requests, {key.first, key.second, status, key.third}),
                store.with(Metric::request_duration, {key.first}),
                store.with(Metric::upstream_first_byte, {key.second}), times_of(key.second)};
    }

    BackendTimes* times_of(std::string_view backend)
    {
        if (backend.empty()) {
            return nullptr;
        }
        const std::lock_guard lock(times_mutex);
        return &times[std::string(backend)];
    }

    TokenSeries make_token_series(const SeriesKey& key)
    {
        return {store.with(Metric::tokens, {key.first, "input"}),
                store.with(Metric::tokens, {key.first, "output"}),
                store.with(Metric::tokens, {key.first, "cached"}),
                store.with(Metric::tokens, {key.first, "reasoning"})};
    }

    void count_attempt(std::string_view backend, std::string_view end)
    {
        store.add(attempt_series.find({backend, end}, [this](const SeriesKey& key) {
            return store.with(Metric::attempts, {key.first, key.second});
        }));
    }

    void count_attempts(const AccessRecord& record)
    {
        if (record.tries.empty()) {
            if (record.attempts != 0) {
                const bool refused = !record.refused_as.empty() && record.outcome == "ok";
                count_attempt(record.backend, refused ? record.refused_as : record.outcome);
            }
            return;
        }
        for (const auto& one : record.tries) {
            count_attempt(one.backend, one.outcome);
            if (one.waited > core::Duration::zero()) {
                store.observe(Metric::retry_wait, retry_wait, one.waited);
            }
        }
    }

    /// The label of a project.
    std::string_view project_label(std::string_view name)
    {
        return names_projects.load(std::memory_order_relaxed) ? projects.label(name, true)
                                                              : std::string_view();
    }

    /// The series of a metric with one label.
    template <std::size_t Slots>
    Index one(SeriesTable<Index, Slots>& table, Metric metric, std::string_view label)
    {
        return table.find({label}, [this, metric](const SeriesKey& key) {
            return store.with(metric, {key.first});
        });
    }
};

Metrics::Metrics(std::string_view version) : state_(std::make_unique<State>())
{
    state_->store.add(state_->store.with(Metric::build_info, {version}));
}

Metrics::~Metrics() = default;

void Metrics::limit_models(std::size_t most) noexcept
{
    state_->gen_ai.limit_models(most);
}

void Metrics::limit_projects(std::size_t most) noexcept
{
    state_->projects.limit(most);
    state_->names_projects.store(most != 0, std::memory_order_relaxed);
}

void Metrics::record(const AccessRecord& record)
{
    auto& state = *state_;
    auto& store = state.store;
    const SeriesKey key{record.route, record.backend, record.outcome, record.status};
    const auto& series = state.request_series.find(
        key, [&state](const SeriesKey& wanted) { return state.make_request_series(wanted); });
    store.add(series.requests);
    store.observe(Metric::request_duration, series.duration, record.times.total);
    if (series.times != nullptr) {
        series.times->duration.record(record.times.total);
    }
    if (record.times.upstream_first_byte >= core::Duration::zero()) {
        store.observe(Metric::upstream_first_byte, series.first_byte,
                      record.times.upstream_first_byte);
        if (series.times != nullptr) {
            series.times->first_byte.record(record.times.upstream_first_byte);
        }
    }
    if (record.times.proxy >= core::Duration::zero()) {
        store.observe(Metric::proxy_overhead, state.overhead, record.times.proxy);
    }
    state.count_attempts(record);
    state.gen_ai.record(record);
    if (record.outcome == "client_gone") {
        store.add(state.disconnects);
    } else if (record.stream && record.status == 200 && record.outcome.starts_with("upstream_")) {
        store.add(state.one(state.truncated_series, Metric::streams_truncated, record.backend));
    }
    if (record.cost.count > 0) {
        store.add(state.one(state.cost_series, Metric::cost, state.project_label(record.project)),
                  static_cast<std::uint64_t>(record.cost.count));
    }
    if (record.usage.present) {
        const auto& tokens =
            state.token_series.find({record.backend}, [&state](const SeriesKey& wanted) {
                return state.make_token_series(wanted);
            });
        store.add(tokens.input, record.usage.input);
        store.add(tokens.output, record.usage.output);
        store.add(tokens.cached, record.usage.cached);
        store.add(tokens.reasoning, record.usage.reasoning);
    }
}

void Metrics::request_started() noexcept
{
    state_->store.add(state_->active);
}

void Metrics::request_finished() noexcept
{
    state_->store.take(state_->active);
}

void Metrics::connection_opened(std::string_view listener)
{
    auto& state = *state_;
    state.store.add(state.one(state.connection_series, Metric::connections, listener));
}

void Metrics::connection_closed(std::string_view listener)
{
    auto& state = *state_;
    state.store.take(state.one(state.connection_series, Metric::connections, listener));
}

void Metrics::rejected(core::Errc reason)
{
    auto& state = *state_;
    state.store.add(
        state.one(state.rejection_series, Metric::rejections, core::error_info(reason).code));
}

void Metrics::upstream_connect(std::string_view backend, core::Errc result)
{
    auto& state = *state_;
    state.store.add(state.connect_series.find(
        {backend, core::error_info(result).code}, [&state](const SeriesKey& key) {
            return state.store.with(Metric::upstream_connects, {key.first, key.second});
        }));
}

void Metrics::upstream_reuse(std::string_view backend)
{
    auto& state = *state_;
    state.store.add(state.one(state.reuse_series, Metric::upstream_reuses, backend));
}

void Metrics::looked_up(core::Duration took)
{
    state_->store.observe(Metric::dns, state_->dns, took);
}

void Metrics::store_commit(core::Duration took)
{
    state_->store.observe(Metric::store_commit, state_->commits, took);
}

void Metrics::tls_handshake(std::string_view side, core::Duration took)
{
    auto& state = *state_;
    state.store.observe(Metric::tls_handshake,
                        state.one(state.handshake_series, Metric::tls_handshake, side), took);
}

void Metrics::tunnel_opened() noexcept
{
    state_->store.add(state_->tunnels_active);
}

void Metrics::tunnel_closed(std::string_view end, std::uint64_t from_client,
                            std::uint64_t from_upstream)
{
    auto& state = *state_;
    state.store.take(state.tunnels_active);
    state.store.add(state.one(state.tunnel_series, Metric::tunnels, end));
    state.store.add(state.bytes_from_client, from_client);
    state.store.add(state.bytes_from_upstream, from_upstream);
}

void Metrics::destination_refused(std::string_view rule)
{
    auto& state = *state_;
    state.store.add(state.one(state.refusal_series, Metric::forward_refusals, rule));
}

void Metrics::health_check(std::string_view backend, std::string_view result)
{
    auto& state = *state_;
    state.store.add(state.check_series.find({backend, result}, [&state](const SeriesKey& key) {
        return state.store.with(Metric::health_checks, {key.first, key.second});
    }));
}

void Metrics::config_reload(bool ok)
{
    state_->store.add(ok ? state_->reload_ok : state_->reload_failed);
}

void Metrics::traces(TraceEnd end, std::size_t requests)
{
    static constexpr std::array<std::string_view, 3> kWords{"exported", "dropped", "failed"};
    auto& state = *state_;
    state.store.add(
        state.one(state.trace_series, Metric::traces, kWords.at(static_cast<std::size_t>(end))),
        requests);
}

void Metrics::set_queued_requests(std::uint64_t count)
{
    state_->store.set(state_->queued, count);
}

void Metrics::set_access_log_dropped(std::uint64_t total)
{
    state_->store.set(state_->dropped, total);
}

void Metrics::show_backend(const BackendFigures& figures)
{
    auto& store = state_->store;
    const auto name = figures.name;
    store.show(Metric::circuit_state, {name, ""}, figures.circuit);
    for (std::size_t i = 0; i < figures.resting.size(); ++i) {
        store.show(Metric::circuit_state, {name, std::to_string(i)}, figures.resting[i] ? 1 : 0);
    }
    static constexpr std::array<std::string_view, 3> kStates{"closed", "open", "half_open"};
    for (std::size_t i = 0; i < kStates.size(); ++i) {
        store.show(Metric::circuit_transitions, {name, kStates.at(i)},
                   static_cast<double>(figures.transitions.at(i)));
    }
    store.show(Metric::pool_connections, {name, "idle"}, static_cast<double>(figures.idle));
    store.show(Metric::pool_connections, {name, "leased"}, static_cast<double>(figures.leased));
    const auto exchanges = static_cast<double>(figures.connects + figures.reuses);
    if (exchanges > 0) {
        store.show(Metric::upstream_reuse_ratio, {name},
                   static_cast<double>(figures.reuses) / exchanges);
    }
    if (figures.healthy) {
        store.show(Metric::backend_healthy, {name}, *figures.healthy ? 1 : 0);
    }
}

void Metrics::show_store(const StoreFigures& figures)
{
    auto& store = state_->store;
    store.show(Metric::store_up, {}, figures.works ? 1 : 0);
    store.show(Metric::store_queue, {}, static_cast<double>(figures.queued));
    store.show(Metric::store_unsettled, {}, static_cast<double>(figures.unsettled));
    store.show(Metric::store_failures, {}, static_cast<double>(figures.failures));
}

void Metrics::show_budget(std::string_view subject, std::string_view project,
                          std::string_view period, double used)
{
    state_->store.show_largest(Metric::budget_used,
                               {subject, state_->project_label(project), period}, used);
}

void Metrics::show_certificate(std::string_view listener, std::chrono::seconds left)
{
    state_->store.show(Metric::certificate_expiry, {listener}, static_cast<double>(left.count()));
}

std::vector<BackendStats> Metrics::stats() const
{
    // Labels of the catalogue: requests by route, backend, status, outcome; attempts by backend, class.
    std::map<std::string, BackendStats> found;
    state_->store.for_each(Metric::requests, [&found](const auto& labels, std::uint64_t count) {
        if (!labels[1].empty()) {
            auto& backend = found[labels[1]];
            backend.requests += count;
            backend.outcomes[labels[3]] += count;
        }
    });
    state_->store.for_each(Metric::attempts, [&found](const auto& labels, std::uint64_t count) {
        if (!labels[0].empty()) {
            found[labels[0]].attempts[labels[1]] += count;
        }
    });
    const std::lock_guard lock(state_->times_mutex);
    std::vector<BackendStats> stats;
    for (auto& [name, backend] : found) {
        backend.name = name;
        if (const auto times = state_->times.find(name); times != state_->times.end()) {
            TimeCounts duration;
            times->second.duration.add_to(duration);
            backend.duration = duration.summary();
            TimeCounts first_byte;
            times->second.first_byte.add_to(first_byte);
            backend.first_byte = first_byte.summary();
        }
        stats.push_back(std::move(backend));
    }
    return stats;
}

void Metrics::on_collect(std::function<void(Metrics&)> collect)
{
    const std::lock_guard lock(state_->collect_mutex);
    state_->collectors.push_back(std::move(collect));
}

std::string Metrics::render()
{
    const std::lock_guard lock(state_->collect_mutex);
    state_->store.forget_shown();
    show_process(state_->store);
    for (const auto& collect : state_->collectors) {
        collect(*this);
    }
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, state_->store.collect());
    return std::move(text).str();
}

}  // namespace llmproxy::telemetry
