#include "llmproxy/telemetry/tracer.hpp"

#include "llmproxy/core/ids.hpp"

namespace llmproxy::telemetry {
namespace {

/// As OpenTelemetry's samplers decide: by the last eight bytes of the id.
bool takes(const TraceId& id, double ratio) noexcept
{
    std::uint64_t tail = 0;
    for (std::size_t i = 8; i < id.size(); ++i) {
        tail = tail << 8U | id.at(i);
    }
    return ratio >= 1.0 || static_cast<double>(tail >> 1U) < ratio * 0x1p63;
}

}  // namespace

std::shared_ptr<Trace> Tracer::begin(std::string_view parent, std::string_view state,
                                     core::SteadyTime now) const
{
    auto trace = std::make_shared<Trace>();
    trace->began = now;
    core::fill_random(trace->span);
    if (const auto given = parse_traceparent(parent)) {
        trace->id = given->trace;
        trace->parent = given->span;
        trace->sampled = given->sampled;
        if (is_tracestate(state)) {
            trace->state = state;
        }
    } else {
        core::fill_random(trace->id);
        trace->sampled = takes(trace->id, ratio_.load(std::memory_order_relaxed));
    }
    return trace;
}

void Tracer::finish(const AccessRecord& record) const noexcept
{
    // Who checks health and reads metrics does so all the time.
    const bool wanted = record.route != "health" && record.route != "metrics";
    if (wanted && sampled(record.trace) != nullptr) {
        sink_.take(record);
    }
}

}  // namespace llmproxy::telemetry
