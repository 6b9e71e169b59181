#include "llmproxy/telemetry/metrics.hpp"

#include "series_store.hpp"
#include "series_table.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using Index = SeriesStore::Index;

/// What one finished request touches.
struct RequestSeries {
    Index requests;
    Index duration;
    Index first_byte;
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
    Index open_tunnels = store.with(Metric::open_tunnels, {});
    Index bytes_from_client = store.with(Metric::tunnel_bytes, {"from_client"});
    Index bytes_from_upstream = store.with(Metric::tunnel_bytes, {"from_upstream"});
    Index dropped = store.with(Metric::access_log_dropped, {});
    Index reload_ok = store.with(Metric::config_reloads, {"ok"});
    Index reload_failed = store.with(Metric::config_reloads, {"failed"});

    SeriesTable<RequestSeries, 4096> request_series;
    SeriesTable<TokenSeries, 512> token_series;
    SeriesTable<Index, 256> connection_series;
    SeriesTable<Index, 128> rejection_series;
    SeriesTable<Index, 2048> connect_series;
    SeriesTable<Index, 512> reuse_series;
    SeriesTable<Index, 1024> check_series;
    SeriesTable<Index, 16> tunnel_series;
    SeriesTable<Index, 16> refusal_series;

    std::mutex collect_mutex;  // one rendering at a time
    std::vector<std::function<void(Metrics&)>> collectors;
    std::mutex health_mutex;
    std::map<std::string, Index, std::less<>> health_series;  // that are shown

    RequestSeries make_request_series(const SeriesKey& key)
    {
        const auto status = std::to_string(key.number);
        return {store.with(Metric::requests, {key.first, key.second, status, key.third}),
                store.with(Metric::request_duration, {key.first}),
                store.with(Metric::upstream_first_byte, {key.second})};
    }

    TokenSeries make_token_series(const SeriesKey& key)
    {
        return {store.with(Metric::tokens, {key.first, "input"}),
                store.with(Metric::tokens, {key.first, "output"}),
                store.with(Metric::tokens, {key.first, "cached"}),
                store.with(Metric::tokens, {key.first, "reasoning"})};
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

void Metrics::record(const AccessRecord& record)
{
    auto& state = *state_;
    auto& store = state.store;
    const SeriesKey key{record.route, record.backend, record.outcome, record.status};
    const auto& series = state.request_series.find(
        key, [&state](const SeriesKey& wanted) { return state.make_request_series(wanted); });
    store.add(series.requests);
    store.observe(Metric::request_duration, series.duration, record.times.total);
    if (record.times.upstream_first_byte >= core::Duration::zero()) {
        store.observe(Metric::upstream_first_byte, series.first_byte,
                      record.times.upstream_first_byte);
    }
    if (record.times.proxy >= core::Duration::zero()) {
        store.observe(Metric::proxy_overhead, state.overhead, record.times.proxy);
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

void Metrics::tunnel_opened() noexcept
{
    state_->store.add(state_->open_tunnels);
}

void Metrics::tunnel_closed(std::string_view end, std::uint64_t from_client,
                            std::uint64_t from_upstream)
{
    auto& state = *state_;
    state.store.take(state.open_tunnels);
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

void Metrics::set_backend_health(std::span<const std::pair<std::string_view, bool>> healthy)
{
    auto& state = *state_;
    const std::lock_guard lock(state.health_mutex);
    std::erase_if(state.health_series, [&](const auto& entry) {
        const bool gone = std::none_of(healthy.begin(), healthy.end(),
                                       [&](const auto& one) { return one.first == entry.first; });
        if (gone) {
            state.store.hide(entry.second);
        }
        return gone;
    });
    for (const auto& [backend, well] : healthy) {
        auto found = state.health_series.find(backend);
        if (found == state.health_series.end()) {
            const auto series = state.store.with(Metric::backend_healthy, {backend});
            found = state.health_series.emplace(backend, series).first;
        }
        state.store.set(found->second, well ? 1 : 0);
    }
}

void Metrics::config_reload(bool ok)
{
    state_->store.add(ok ? state_->reload_ok : state_->reload_failed);
}

void Metrics::set_queued_requests(std::uint64_t count)
{
    state_->store.set(state_->queued, count);
}

void Metrics::set_access_log_dropped(std::uint64_t total)
{
    state_->store.set(state_->dropped, total);
}

void Metrics::on_collect(std::function<void(Metrics&)> collect)
{
    const std::lock_guard lock(state_->collect_mutex);
    state_->collectors.push_back(std::move(collect));
}

std::string Metrics::render()
{
    const std::lock_guard lock(state_->collect_mutex);
    for (const auto& collect : state_->collectors) {
        collect(*this);
    }
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, state_->store.collect());
    return std::move(text).str();
}

}  // namespace llmproxy::telemetry
