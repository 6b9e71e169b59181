#pragma once

#include "llmproxy/core/clock.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace llmproxy::policy {

/// How long to wait for the head of a reply, learnt from how long it took lately: three times the 99th percentile of
/// the last kSamples times to first byte of this backend and model, not below a floor, not above the configured time.
/// Until kEnough times are known it is the configured time.
///
/// Cost: `limit` is one look-up; every kRefresh-th `record` sorts out the percentile of at most kSamples numbers.
/// Memory: at most kSeries series of a few hundred bytes; the one unused for longest makes room.
/// Thread safety: every member may be called concurrently; a lock held for a look-up.
class AdaptiveTimeout {
public:
    static constexpr std::size_t kSeries = 256;
    static constexpr std::size_t kSamples = 128;
    static constexpr std::size_t kEnough = 20;
    static constexpr std::size_t kRefresh = 8;
    static constexpr int kFactor = 3;

    /// \param floor  the result is not below it, unless `longest` is.
    /// \param longest  `timeout.response_header_timeout`.
    [[nodiscard]] core::Duration limit(std::string_view backend, std::string_view model,
                                       core::Duration floor, core::Duration longest);

    /// A head came after `time_to_first_byte`. After a header timeout: the time waited, so that a limit that has become
    /// too short grows again.
    void record(std::string_view backend, std::string_view model,
                core::Duration time_to_first_byte);

    [[nodiscard]] std::size_t series() const;

private:
    struct Series {
        std::string name;
        std::array<std::uint32_t, kSamples> samples{};  // us, a ring
        std::size_t count = 0;                          // ever recorded
        core::Duration percentile{0};                   // 0: not enough known
    };
    using Order = std::list<Series>;  // the one used last in front

    Order::iterator find(std::string_view backend, std::string_view model);

    mutable std::mutex mutex_;
    Order order_;
    std::unordered_map<std::string_view, Order::iterator> index_;  // views into order_
    std::string name_;                                             // scratch
};

}  // namespace llmproxy::policy
