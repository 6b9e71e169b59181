#include "llmproxy/telemetry/metrics.hpp"

#include "metric_catalogue.hpp"
#include "series_table.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <atomic>
#include <initializer_list>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace llmproxy::telemetry {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;

/// A registered family with the labels of its catalogue row.
template <typename T>
class Family {
public:
    Family(prometheus::Registry& registry, prometheus::detail::Builder<T> builder, Metric metric)
        : info_(info_of(metric)), family_(builder.Name(std::string(info_.name))
                                              .Help(std::string(info_.help))
                                              .Register(registry))
    {
    }

    /// The series with these label values, in the catalogue's order.
    T* with(std::initializer_list<std::string_view> values)
    {
        prometheus::Labels labels;
        auto name = info_.labels.begin();
        for (const auto value : values) {
            labels.emplace(*name++, value);
        }
        if constexpr (std::same_as<T, Histogram>) {
            const Histogram::BucketBoundaries bounds(info_.buckets.begin(), info_.buckets.end());
            return &family_.Add(labels, bounds);
        } else {
            return &family_.Add(labels);
        }
    }

private:
    const MetricInfo& info_;
    prometheus::Family<T>& family_;
};

struct CounterFamily : Family<Counter> {
    CounterFamily(prometheus::Registry& registry, Metric metric)
        : Family(registry, prometheus::BuildCounter(), metric)
    {
    }
};
struct GaugeFamily : Family<Gauge> {
    GaugeFamily(prometheus::Registry& registry, Metric metric)
        : Family(registry, prometheus::BuildGauge(), metric)
    {
    }
};
struct HistogramFamily : Family<Histogram> {
    HistogramFamily(prometheus::Registry& registry, Metric metric)
        : Family(registry, prometheus::BuildHistogram(), metric)
    {
    }
};

/// What one finished request touches.
struct RequestSeries {
    Counter* requests;
    Histogram* duration;
    Histogram* first_byte;
};

struct TokenSeries {
    Counter* input;
    Counter* output;
    Counter* cached;
    Counter* reasoning;
};

double seconds(core::Duration duration) noexcept
{
    return std::chrono::duration<double>(duration).count();
}

void count(Counter* counter, std::uint64_t by)
{
    if (by != 0) {
        counter->Increment(static_cast<double>(by));
    }
}

}  // namespace

struct Metrics::State {
    prometheus::Registry registry;
    CounterFamily requests{registry, Metric::requests};
    HistogramFamily request_duration{registry, Metric::request_duration};
    HistogramFamily proxy_overhead{registry, Metric::proxy_overhead};
    HistogramFamily upstream_first_byte{registry, Metric::upstream_first_byte};
    GaugeFamily active_requests{registry, Metric::active_requests};
    GaugeFamily queued_requests{registry, Metric::queued_requests};
    GaugeFamily connections{registry, Metric::connections};
    CounterFamily rejections{registry, Metric::rejections};
    CounterFamily upstream_connects{registry, Metric::upstream_connects};
    CounterFamily upstream_reuses{registry, Metric::upstream_reuses};
    CounterFamily tokens{registry, Metric::tokens};
    GaugeFamily open_tunnels{registry, Metric::open_tunnels};
    CounterFamily tunnels{registry, Metric::tunnels};
    CounterFamily tunnel_bytes{registry, Metric::tunnel_bytes};
    CounterFamily forward_refusals{registry, Metric::forward_refusals};
    CounterFamily access_log_dropped{registry, Metric::access_log_dropped};
    CounterFamily config_reloads{registry, Metric::config_reloads};
    GaugeFamily build_info{registry, Metric::build_info};

    Histogram* overhead = proxy_overhead.with({});
    Gauge* active_gauge = active_requests.with({});
    Gauge* queued_gauge = queued_requests.with({});
    Gauge* tunnels_gauge = open_tunnels.with({});
    Counter* bytes_from_client = tunnel_bytes.with({"from_client"});
    Counter* bytes_from_upstream = tunnel_bytes.with({"from_upstream"});
    Counter* dropped_counter = access_log_dropped.with({});
    Counter* reload_ok = config_reloads.with({"ok"});
    Counter* reload_failed = config_reloads.with({"failed"});

    SeriesTable<RequestSeries, 4096> request_series;
    SeriesTable<TokenSeries, 512> token_series;
    SeriesTable<Gauge*, 256> connection_series;
    SeriesTable<Counter*, 128> rejection_series;
    SeriesTable<Counter*, 2048> connect_series;
    SeriesTable<Counter*, 512> reuse_series;
    SeriesTable<Counter*, 16> tunnel_series;
    SeriesTable<Counter*, 16> refusal_series;

    std::atomic<std::int64_t> active{0};
    std::mutex collect_mutex;  // one rendering at a time
    std::vector<std::function<void(Metrics&)>> collectors;
    std::mutex dropped_mutex;
    std::uint64_t dropped_total = 0;

    RequestSeries make_request_series(const SeriesKey& key)
    {
        return {requests.with({key.first, key.second, std::to_string(key.number), key.third}),
                request_duration.with({key.first}), upstream_first_byte.with({key.second})};
    }

    TokenSeries make_token_series(const SeriesKey& key)
    {
        return {tokens.with({key.first, "input"}), tokens.with({key.first, "output"}),
                tokens.with({key.first, "cached"}), tokens.with({key.first, "reasoning"})};
    }

    Gauge* connections_of(std::string_view listener)
    {
        return connection_series.find(
            {listener}, [this](const SeriesKey& key) { return connections.with({key.first}); });
    }
};

Metrics::Metrics(std::string_view version) : state_(std::make_unique<State>())
{
    state_->build_info.with({version})->Set(1);
}

Metrics::~Metrics() = default;

void Metrics::record(const AccessRecord& record)
{
    auto& state = *state_;
    const SeriesKey key{record.route, record.backend, record.outcome, record.status};
    const auto& series = state.request_series.find(
        key, [&state](const SeriesKey& wanted) { return state.make_request_series(wanted); });
    series.requests->Increment();
    series.duration->Observe(seconds(record.times.total));
    if (record.times.upstream_first_byte >= core::Duration::zero()) {
        series.first_byte->Observe(seconds(record.times.upstream_first_byte));
    }
    if (record.times.proxy >= core::Duration::zero()) {
        state.overhead->Observe(seconds(record.times.proxy));
    }
    if (record.usage.present) {
        const auto& tokens =
            state.token_series.find({record.backend}, [&state](const SeriesKey& wanted) {
                return state.make_token_series(wanted);
            });
        count(tokens.input, record.usage.input);
        count(tokens.output, record.usage.output);
        count(tokens.cached, record.usage.cached);
        count(tokens.reasoning, record.usage.reasoning);
    }
}

void Metrics::request_started() noexcept
{
    state_->active.fetch_add(1, std::memory_order_relaxed);
}

void Metrics::request_finished() noexcept
{
    state_->active.fetch_sub(1, std::memory_order_relaxed);
}

void Metrics::connection_opened(std::string_view listener)
{
    state_->connections_of(listener)->Increment();
}

void Metrics::connection_closed(std::string_view listener)
{
    state_->connections_of(listener)->Decrement();
}

void Metrics::rejected(core::Errc reason)
{
    state_->rejection_series
        .find({core::error_info(reason).code},
              [this](const SeriesKey& key) { return state_->rejections.with({key.first}); })
        ->Increment();
}

void Metrics::upstream_connect(std::string_view backend, core::Errc result)
{
    state_->connect_series
        .find({backend, core::error_info(result).code},
              [this](const SeriesKey& key) {
                  return state_->upstream_connects.with({key.first, key.second});
              })
        ->Increment();
}

void Metrics::upstream_reuse(std::string_view backend)
{
    state_->reuse_series
        .find({backend},
              [this](const SeriesKey& key) { return state_->upstream_reuses.with({key.first}); })
        ->Increment();
}

void Metrics::tunnel_opened() noexcept
{
    state_->tunnels_gauge->Increment();
}

void Metrics::tunnel_closed(std::string_view end, std::uint64_t from_client,
                            std::uint64_t from_upstream)
{
    auto& state = *state_;
    state.tunnels_gauge->Decrement();
    state.tunnel_series
        .find({end}, [&state](const SeriesKey& key) { return state.tunnels.with({key.first}); })
        ->Increment();
    count(state.bytes_from_client, from_client);
    count(state.bytes_from_upstream, from_upstream);
}

void Metrics::destination_refused(std::string_view rule)
{
    auto& state = *state_;
    state.refusal_series
        .find({rule},
              [&state](const SeriesKey& key) { return state.forward_refusals.with({key.first}); })
        ->Increment();
}

void Metrics::config_reload(bool ok)
{
    (ok ? state_->reload_ok : state_->reload_failed)->Increment();
}

void Metrics::set_queued_requests(std::uint64_t count)
{
    state_->queued_gauge->Set(static_cast<double>(count));
}

void Metrics::set_access_log_dropped(std::uint64_t total)
{
    const std::lock_guard lock(state_->dropped_mutex);
    if (total > state_->dropped_total) {
        state_->dropped_counter->Increment(static_cast<double>(total - state_->dropped_total));
        state_->dropped_total = total;
    }
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
    state_->active_gauge->Set(static_cast<double>(state_->active.load(std::memory_order_relaxed)));
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, state_->registry.Collect());
    return std::move(text).str();
}

}  // namespace llmproxy::telemetry
