#pragma once

#include "llmproxy/edge/handler.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/telemetry/metrics.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <string>
#include <utility>

namespace llmproxy::handlers {

/// Whether work can be taken.
struct Readiness {
    std::string not_ready;  ///< why not; empty: it can
    std::string detail;     ///< further lines, each with its line end
};

/// `/healthz` and `/livez`: 200 as long as the process answers. `/readyz`: 503 while draining or while no circuit lets a
/// request through; its further lines tell the state of each backend's circuit.
class Health final : public edge::Handler {
public:
    /// \param readiness  called from any thread.
    explicit Health(std::function<Readiness()> readiness) : readiness_(std::move(readiness)) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    std::function<Readiness()> readiness_;
};

/// `/metrics`: Prometheus' text format, compressed for who accepts gzip (RFC 9110, section 12.5.3).
class MetricsPage final : public edge::Handler {
public:
    /// \param background  where the page is made: a large one takes longer than a stream's piece may wait.
    MetricsPage(telemetry::Metrics& metrics, boost::asio::any_io_executor background)
        : metrics_(metrics), background_(std::move(background))
    {
    }
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    telemetry::Metrics& metrics_;
    boost::asio::any_io_executor background_;
};

/// `/v1/`: the gateway.
class OpenAi final : public edge::Handler {
public:
    explicit OpenAi(pipeline::Gateway& gateway) : gateway_(gateway) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    pipeline::Gateway& gateway_;
};

}  // namespace llmproxy::handlers
