#include "series_store.hpp"

#include <algorithm>
#include <limits>

namespace llmproxy::telemetry {
namespace {

/// Cells of one series. A histogram has one for each bucket, the last without a bound, and the sum in nanoseconds.
std::size_t cells_of(const MetricInfo& info) noexcept
{
    return info.type == MetricType::histogram ? info.buckets.size() + 2 : 1;
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

}  // namespace

SeriesStore::Index SeriesStore::with(Metric metric, std::initializer_list<std::string_view> values)
{
    const Values key(values.begin(), values.end());
    const std::lock_guard lock(mutex_);
    auto& known = series_.at(static_cast<std::size_t>(metric));
    const auto found = known.find(key);
    if (found != known.end()) {
        hidden_.erase(found->second);
        return found->second;
    }
    return known.emplace(key, cells_.reserve(cells_of(info_of(metric)))).first->second;
}

void SeriesStore::hide(Index series)
{
    const std::lock_guard lock(mutex_);
    hidden_.insert(series);
}

void SeriesStore::set(Index series, std::uint64_t value)
{
    const std::lock_guard lock(set_mutex_);
    cells_.add(series, value - cells_.sum(series));
}

void SeriesStore::observe(Metric metric, Index series, core::Duration sample)
{
    if (series == Cells::kNone) {
        return;
    }
    const auto& bounds = info_of(metric).buckets;
    const auto seconds = std::chrono::duration<double>(sample).count();
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
    cells_.add(series + static_cast<Index>(bucket));
    const auto ns = std::max(sample, core::Duration(0)).count();
    cells_.add(series + static_cast<Index>(bounds.size()) + 1, static_cast<std::uint64_t>(ns));
}

std::vector<prometheus::MetricFamily> SeriesStore::collect() const
{
    std::vector<prometheus::MetricFamily> families;
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < kMetrics; ++i) {
        if (series_[i].empty()) {
            continue;
        }
        const auto& info = info_of(static_cast<Metric>(i));
        auto& family = families.emplace_back();
        family.name = info.name;
        family.help = info.help;
        family.type = type_of(info.type);
        family.metric.reserve(series_[i].size());
        for (const auto& [values, series] : series_[i]) {
            if (!hidden_.contains(series)) {
                family.metric.push_back(show(info, values, series));
            }
        }
        if (family.metric.empty()) {
            families.pop_back();
        }
    }
    return families;
}

prometheus::ClientMetric SeriesStore::show(const MetricInfo& info, const Values& values,
                                           Index series) const
{
    prometheus::ClientMetric out;
    for (std::size_t i = 0; i < values.size(); ++i) {
        out.label.push_back({std::string(info.labels[i]), values[i]});
    }
    std::sort(out.label.begin(), out.label.end());
    const auto value = cells_.sum(series);
    switch (info.type) {
    case MetricType::counter: out.counter.value = static_cast<double>(value); break;
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
        out.histogram.sample_sum = static_cast<double>(cells_.sum(last + 1)) * 1e-9;
        break;
    }
    }
    return out;
}

}  // namespace llmproxy::telemetry
