#pragma once

#include "cells.hpp"
#include "llmproxy/core/clock.hpp"
#include "metric_catalogue.hpp"

#include <prometheus/metric_family.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

/// The figures of every series of the catalogue: handles to count with, families to show.
///
/// Thread safety: every member may be called concurrently; counting takes no lock.
class SeriesStore {
public:
    using Index = Cells::Index;

    /// The series of `metric` with these label values, in the catalogue's order; made at the first call, shown from now on.
    [[nodiscard]] Index with(Metric metric, std::initializer_list<std::string_view> values);

    void add(Index series, std::uint64_t by = 1) { cells_.add(series, by); }
    void take(Index series) { cells_.add(series, ~std::uint64_t{0}); }
    /// Counters and gauges that somebody else keeps.
    void set(Index series, std::uint64_t value);
    /// One sample of a histogram of `metric`.
    void observe(Metric metric, Index series, core::Duration sample);
    void observe(Metric metric, Index series, std::uint64_t count);

    /// A figure that somebody else keeps, until the next `forget_shown`.
    void show(Metric metric, std::initializer_list<std::string_view> values, double figure);
    /// The same, of several with these values the largest.
    void show_largest(Metric metric, std::initializer_list<std::string_view> values, double figure);
    void forget_shown();

    /// Calls `f(values, sum)` with each series of a metric that is no histogram.
    template <typename F>
    void for_each(Metric metric, F&& f) const
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [values, series] : series_.at(static_cast<std::size_t>(metric))) {
            f(values, cells_.sum(series));
        }
    }

    /// Every metric that has a series, in the order of the catalogue.
    [[nodiscard]] std::vector<prometheus::MetricFamily> collect() const;

private:
    using Values = std::vector<std::string>;

    /// The upper bounds of a histogram's buckets as whole numbers of what it sums up, and none behind them.
    using Bounds = std::array<std::uint64_t, 32>;
    static std::array<Bounds, kMetrics> make_bounds();

    void add_sample(Metric metric, Index series, std::uint64_t sample);

    [[nodiscard]] prometheus::ClientMetric sample(const MetricInfo& info, const Values& values,
                                                  Index series) const;

    const std::array<Bounds, kMetrics> bounds_ = make_bounds();
    Cells cells_;
    mutable std::mutex mutex_;
    std::mutex set_mutex_;
    std::array<std::map<Values, Index>, kMetrics> series_;
    std::array<std::map<Values, double>, kMetrics> shown_;
};

}  // namespace llmproxy::telemetry
