#include "llmproxy/policy/adaptive_timeout.hpp"

#include <algorithm>
#include <limits>

namespace llmproxy::policy {

core::Duration AdaptiveTimeout::limit(std::string_view backend, std::string_view model,
                                      core::Duration floor, core::Duration longest)
{
    const std::lock_guard lock(mutex_);
    const auto series = find(backend, model);
    if (series == order_.end() || series->percentile == core::Duration(0)) {
        return longest;
    }
    return std::min(std::max(series->percentile * kFactor, floor), longest);
}

void AdaptiveTimeout::record(std::string_view backend, std::string_view model,
                             core::Duration time_to_first_byte)
{
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(time_to_first_byte);
    const auto sample =
        std::clamp<std::int64_t>(us.count(), 1, std::numeric_limits<std::uint32_t>::max());
    const std::lock_guard lock(mutex_);
    auto series = find(backend, model);
    if (series == order_.end()) {
        if (order_.size() == kSeries) {
            index_.erase(order_.back().name);
            order_.pop_back();
        }
        order_.emplace_front().name = name_;
        series = order_.begin();
        index_.emplace(series->name, series);
    }
    series->samples.at(series->count++ % kSamples) = static_cast<std::uint32_t>(sample);
    if (series->count < kEnough || (series->count - kEnough) % kRefresh != 0) {
        return;
    }
    auto sorted = series->samples;
    const auto known = std::min(series->count, kSamples);
    // The smallest sample that at least 99 of 100 do not exceed.
    const auto rank = (known * 99 + 99) / 100 - 1;
    const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(sorted.begin(), at, sorted.begin() + static_cast<std::ptrdiff_t>(known));
    series->percentile = std::chrono::microseconds(*at);
}

AdaptiveTimeout::Order::iterator AdaptiveTimeout::find(std::string_view backend,
                                                       std::string_view model)
{
    // Names of backends hold no line end.
    name_.assign(backend);
    name_ += '\n';
    name_ += model;
    const auto found = index_.find(name_);
    if (found == index_.end()) {
        return order_.end();
    }
    order_.splice(order_.begin(), order_, found->second);
    return found->second;
}

std::size_t AdaptiveTimeout::series() const
{
    const std::lock_guard lock(mutex_);
    return order_.size();
}

}  // namespace llmproxy::policy
