#include "series_store.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace llmproxy::telemetry {
namespace {

/// Cells of one series. A histogram has one for each bucket, the last without a bound, and the sum.
std::size_t cells_of(const MetricInfo& info) noexcept
{
    return info.type == MetricType::histogram ? info.buckets.size() + 2 : 1;
}

double unit_of(const MetricInfo& info) noexcept
{
    const bool is_time = info.type == MetricType::histogram;
    return info.unit != 0.0 ? info.unit : is_time ? 1e-9 : 1.0;
}

prometheus::MetricType type_of(MetricType type) noexcept
{
    switch (type) {
    case MetricType::counter: return prometheus::MetricType::Counter;
    case MetricType::gauge: return prometheus::MetricType::Gauge;
    case MetricType::histogram: break;
    }
    return prometheus::MetricType::Histogram;
}

std::vector<prometheus::ClientMetric::Label> labels_of(const MetricInfo& info,
                                                       const std::vector<std::string>& values)
{
    std::vector<prometheus::ClientMetric::Label> labels;
    labels.reserve(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        labels.push_back({std::string(info.labels[i]), values[i]});
    }
    std::sort(labels.begin(), labels.end());
    return labels;
}

}  // namespace

SeriesStore::Index SeriesStore::with(Metric metric, std::initializer_list<std::string_view> values)
{
    const Values key(values.begin(), values.end());
    const std::lock_guard lock(mutex_);
    auto& known = series_.at(static_cast<std::size_t>(metric));
    const auto found = known.find(key);
    if (found != known.end()) {
        return found->second;
    }
    return known.emplace(key, cells_.reserve(cells_of(info_of(metric)))).first->second;
}

void SeriesStore::set(Index series, std::uint64_t value)
{
    const std::lock_guard lock(set_mutex_);
    cells_.add(series, value - cells_.sum(series));
}

std::array<SeriesStore::Bounds, kMetrics> SeriesStore::make_bounds()
{
    std::array<Bounds, kMetrics> all;
    for (std::size_t i = 0; i < kMetrics; ++i) {
        const auto& info = info_of(static_cast<Metric>(i));
        all[i].fill(std::numeric_limits<std::uint64_t>::max());
        for (std::size_t k = 0; k < info.buckets.size(); ++k) {
            all[i].at(k) =
                static_cast<std::uint64_t>(std::llround(info.buckets[k] / unit_of(info)));
        }
    }
    return all;
}

void SeriesStore::observe(Metric metric, Index series, core::Duration sample)
{
    const auto ns = std::max(sample, core::Duration(0)).count();
    add_sample(metric, series, static_cast<std::uint64_t>(ns));
}

void SeriesStore::observe(Metric metric, Index series, std::uint64_t count)
{
    add_sample(metric, series, count);
}

void SeriesStore::add_sample(Metric metric, Index series, std::uint64_t sample)
{
    if (series == Cells::kNone) {
        return;
    }
    const auto& bounds = bounds_[static_cast<std::size_t>(metric)];
    std::size_t bucket = 0;  // how many bounds are less
    for (std::size_t step = bounds.size() / 2; step != 0; step /= 2) {
        bucket += bounds[bucket + step - 1] < sample ? step : 0;
    }
    const auto buckets = info_of(metric).buckets.size();
    cells_.add(series + static_cast<Index>(bucket), series + static_cast<Index>(buckets) + 1,
               sample);
}

void SeriesStore::show(Metric metric, std::initializer_list<std::string_view> values, double figure)
{
    Values key(values.begin(), values.end());
    const std::lock_guard lock(mutex_);
    shown_.at(static_cast<std::size_t>(metric)).insert_or_assign(std::move(key), figure);
}

void SeriesStore::show_largest(Metric metric, std::initializer_list<std::string_view> values,
                               double figure)
{
    Values key(values.begin(), values.end());
    const std::lock_guard lock(mutex_);
    auto& shown = shown_.at(static_cast<std::size_t>(metric))
                      .try_emplace(std::move(key), figure)
                      .first->second;
    shown = std::max(shown, figure);
}

void SeriesStore::forget_shown()
{
    const std::lock_guard lock(mutex_);
    for (auto& figures : shown_) {
        figures.clear();
    }
}

std::vector<prometheus::MetricFamily> SeriesStore::collect() const
{
    std::vector<prometheus::MetricFamily> families;
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < kMetrics; ++i) {
        if (series_[i].empty() && shown_[i].empty()) {
            continue;
        }
        const auto& info = info_of(static_cast<Metric>(i));
        auto& family = families.emplace_back();
        family.name = info.name;
        family.help = info.help;
        family.type = type_of(info.type);
        family.metric.reserve(series_[i].size() + shown_[i].size());
        for (const auto& [values, series] : series_[i]) {
            family.metric.push_back(sample(info, values, series));
        }
        for (const auto& [values, figure] : shown_[i]) {
            auto& one = family.metric.emplace_back();
            one.label = labels_of(info, values);
            (info.type == MetricType::counter ? one.counter.value : one.gauge.value) = figure;
        }
    }
    return families;
}

prometheus::ClientMetric SeriesStore::sample(const MetricInfo& info, const Values& values,
                                             Index series) const
{
    prometheus::ClientMetric out;
    out.label = labels_of(info, values);
    const auto value = cells_.sum(series);
    switch (info.type) {
    case MetricType::counter: out.counter.value = static_cast<double>(value) * unit_of(info); break;
    case MetricType::gauge:
        // What was taken on another thread than it was added on wraps around in each copy, not in the sum.
        out.gauge.value = static_cast<double>(static_cast<std::int64_t>(value));
        break;
    case MetricType::histogram: {
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < info.buckets.size(); ++i) {
            seen += cells_.sum(series + static_cast<Index>(i));
            out.histogram.bucket.push_back({seen, info.buckets[i]});
        }
        const auto last = series + static_cast<Index>(info.buckets.size());
        seen += cells_.sum(last);
        out.histogram.bucket.push_back({seen, std::numeric_limits<double>::infinity()});
        out.histogram.sample_count = seen;
        out.histogram.sample_sum = static_cast<double>(cells_.sum(last + 1)) * unit_of(info);
        break;
    }
    }
    return out;
}

}  // namespace llmproxy::telemetry
