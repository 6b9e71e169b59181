#pragma once

#include "llmproxy/handlers/handlers.hpp"
#include "llmproxy/telemetry/metrics.hpp"
#include "llmproxy/upstream/backends.hpp"

namespace llmproxy::app {

/// What `/readyz` says of these backends.
[[nodiscard]] handlers::Readiness readiness_of(const upstream::Backends& backends, bool draining);

/// Tells the metrics what backends keep count of themselves.
void collect_backends(const upstream::Backends& backends, telemetry::Metrics& into);

}  // namespace llmproxy::app
