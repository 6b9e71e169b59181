#pragma once

#include "llmproxy/telemetry/access_record.hpp"
#include "llmproxy/telemetry/trace.hpp"

#include <atomic>
#include <memory>
#include <string_view>

namespace llmproxy::telemetry {

/// Takes the records of sampled requests that are over. Does not wait and does not fail.
/// Thread safety: `take` may be called concurrently.
class TraceSink {
public:
    TraceSink() = default;
    TraceSink(const TraceSink&) = delete;
    TraceSink& operator=(const TraceSink&) = delete;
    virtual ~TraceSink() = default;
    virtual void take(const AccessRecord& record) noexcept = 0;
};

/// Begins the trace of each request, decides which are sampled, and gives those on when they are over.
///
/// A client that says which trace it is in decides whether it is sampled; of the others a share is, by the trace's id, so
/// that whoever uses the same share takes the same ones.
/// Thread safety: every member may be called concurrently. Lifetime: `sink` outlives it.
class Tracer {
public:
    Tracer(TraceSink& sink, double ratio) noexcept : sink_(sink), ratio_(ratio) {}

    void set_ratio(double ratio) noexcept { ratio_.store(ratio, std::memory_order_relaxed); }

    /// \param parent  the request's `traceparent`; empty or malformed: the trace begins here.
    /// \param state   its `tracestate`, several fields joined by commas; malformed: left out.
    [[nodiscard]] std::shared_ptr<Trace> begin(std::string_view parent, std::string_view state,
                                               core::SteadyTime now) const;

    /// The request is over.
    void finish(const AccessRecord& record) const noexcept;

private:
    TraceSink& sink_;
    std::atomic<double> ratio_;
};

}  // namespace llmproxy::telemetry
