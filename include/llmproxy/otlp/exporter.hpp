#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/otlp/settings.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/telemetry/tracer.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <string>

namespace llmproxy::otlp {

/// Sends the spans of finished requests to an OpenTelemetry collector: OTLP over HTTP, in JSON.
///
/// Requests wait in a bounded queue; what does not fit is dropped. Each `interval`, or once a batch is there, they are
/// encoded where blocking is allowed, and posted; a batch that the collector could not take now (no connection, no answer
/// in time, 429, 502, 503, 504) is posted twice more with a growing pause. What became of each request is counted in
/// `llmproxy_traces_total`. A collector that is slow or gone is noticed by nobody else.
/// Thread safety: `take` and `stop` may be called concurrently. Lifetime: outlives `run` and whoever calls `take`.
class Exporter final : public telemetry::TraceSink {
public:
    struct Parts {
        net::Resolver& resolver;
        telemetry::Metrics& metrics;
        boost::asio::any_io_executor strand;  ///< `run` is spawned here
        boost::asio::any_io_executor aside;   ///< where a batch is encoded; may be kept busy
        std::string version;                  ///< of this program
        std::string instance;
    };

    /// Reads a certificate, for the start only. Fails with Errc::internal, the detail names what.
    [[nodiscard]] static core::Result<std::unique_ptr<Exporter>> make(Settings settings,
                                                                      Parts parts);
    ~Exporter() override;

    void take(const telemetry::AccessRecord& record) noexcept override;

    [[nodiscard]] const boost::asio::any_io_executor& strand() const noexcept;
    /// Posts until `stop`, then what is left, each batch once.
    core::Task<void> run();
    /// No more is taken; `run` ends soon, at `until` at the latest.
    void stop(core::Deadline until);
    [[nodiscard]] bool ended() const noexcept;

private:
    struct State;
    explicit Exporter(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace llmproxy::otlp
