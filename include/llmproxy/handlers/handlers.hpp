#pragma once

#include "llmproxy/edge/handler.hpp"
#include "llmproxy/pipeline/gateway.hpp"
#include "llmproxy/telemetry/metrics.hpp"

#include <functional>

namespace llmproxy::handlers {

/// `/healthz` and `/livez`: 200 as long as the process answers. `/readyz`: 503 while draining or without a backend.
class Health final : public edge::Handler {
public:
    /// \param not_ready  why no work can be taken, or empty; called from any thread.
    explicit Health(std::function<std::string()> not_ready) : not_ready_(std::move(not_ready)) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    std::function<std::string()> not_ready_;
};

/// `/metrics`: Prometheus' text format.
class MetricsPage final : public edge::Handler {
public:
    explicit MetricsPage(telemetry::Metrics& metrics) : metrics_(metrics) {}
    core::Task<void> handle(http::Exchange& exchange) override;

private:
    telemetry::Metrics& metrics_;
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
