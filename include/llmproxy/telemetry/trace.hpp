#pragma once

#include "llmproxy/core/clock.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::telemetry {

using TraceId = std::array<std::uint8_t, 16>;
using SpanId = std::array<std::uint8_t, 8>;

/// Bytes as lower-case hex digits.
void append_hex(std::string& out, std::span<const std::uint8_t> bytes);

/// What a `traceparent` field says (W3C Trace Context, section 3.2).
struct TraceParent {
    TraceId trace{};
    SpanId span{};
    bool sampled = false;
};

/// Reads a `traceparent`: version 00, or of a later version what a reader of 00 understands. Nothing for any other text.
[[nodiscard]] std::optional<TraceParent> parse_traceparent(std::string_view text) noexcept;

/// Whether a `tracestate` list may go on: at most 32 members, each `key=value` as the grammar has it (section 3.3).
[[nodiscard]] bool is_tracestate(std::string_view list) noexcept;

/// A stretch of time that a trace shows as a span of its own.
struct TracePart {
    std::string_view name;  ///< static text
    core::SteadyTime began{};
    core::SteadyTime ended{};
};

/// One attempt at a backend, or one destination of the forward proxy, as a trace shows it.
struct TraceAttempt {
    SpanId span{};
    core::SteadyTime began{};
    core::SteadyTime ended{};
    std::string backend;        ///< empty for the forward proxy
    std::string_view provider;  ///< static text
    std::string upstream;       ///< host:port
    std::string model;          ///< as the backend was asked for it
    std::string_view outcome;   ///< as AttemptRecord::outcome; static text
    std::uint16_t status = 0;   ///< of the reply; 0: none came
    bool answered = false;      ///< the client got this one's reply
    std::vector<TracePart> parts;

    /// A part that ends now.
    void note(std::string_view name, core::SteadyTime since)
    {
        note(name, since, std::chrono::steady_clock::now());
    }
    void note(std::string_view name, core::SteadyTime since, core::SteadyTime until)
    {
        parts.push_back({name, since, until});
    }
};

/// The trace that a request belongs to. Only there while traces are exported (`tracing.endpoint`).
///
/// Thread safety: none; belongs to its request and is not changed once that is over.
struct Trace {
    TraceId id{};
    SpanId span{};    ///< of the request
    SpanId parent{};  ///< the client's; zero: none
    bool sampled = false;
    std::string state;  ///< `tracestate` that goes on
    core::SteadyTime began{};

    /// \name Filled in only while it is sampled
    /// @{
    std::vector<TracePart> parts;
    std::vector<TraceAttempt> attempts;
    /// @}

    /// An attempt begins now; valid until the next one does.
    TraceAttempt& attempt();
    /// What goes on to an upstream as the parent: the attempt under way, or the request itself.
    [[nodiscard]] const SpanId& current() const noexcept
    {
        return attempts.empty() ? span : attempts.back().span;
    }
    /// Appends `traceparent` and `tracestate` lines for an upstream.
    void append_fields(std::string& out) const;
    /// The trace id in hex, for logs.
    [[nodiscard]] std::string id_text() const;
};

/// The trace of a record if what happens is to be noted in it, else null: one or two comparisons.
[[nodiscard]] inline Trace* sampled(const std::shared_ptr<Trace>& trace) noexcept
{
    return trace && trace->sampled ? trace.get() : nullptr;
}

/// Notes one part of a request, from here to the end of the scope, or to `end`.
class PartTimer {
public:
    PartTimer(const std::shared_ptr<Trace>& trace, std::string_view name) : trace_(sampled(trace))
    {
        if (trace_ != nullptr) {
            part_ = {name, std::chrono::steady_clock::now(), {}};
        }
    }
    PartTimer(const PartTimer&) = delete;
    PartTimer& operator=(const PartTimer&) = delete;
    ~PartTimer() { end(); }

    void end()
    {
        if (trace_ != nullptr) {
            part_.ended = std::chrono::steady_clock::now();
            trace_->parts.push_back(part_);
            trace_ = nullptr;
        }
    }

private:
    Trace* trace_;
    TracePart part_;
};

}  // namespace llmproxy::telemetry
