#include "readiness.hpp"

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmproxy::app {
namespace {

std::string circuit_words(const policy::CircuitBreaker::Report& circuit)
{
    std::string words(policy::to_string(circuit.state));
    if (circuit.held) {
        words += ", held by an operator";
    } else if (circuit.state == policy::CircuitState::open) {
        const auto left = std::chrono::ceil<std::chrono::seconds>(circuit.probe_in);
        words += ", probe in " + std::to_string(left.count()) + " s";
    }
    return words;
}

std::string health_words(const policy::BackendHealth::Report& health)
{
    if (!health.last) {
        return "; not checked yet";
    }
    std::string words = "; ";
    words += policy::to_string(health.state);
    words += ", last check: ";
    words += policy::to_string(*health.last);
    if (health.status != 0) {
        words += " " + std::to_string(health.status);
    }
    return words;
}

}  // namespace

handlers::Readiness readiness_of(const upstream::Backends& backends, bool draining)
{
    handlers::Readiness state;
    for (const auto& backend : backends.all()) {
        state.detail += backend->name() + ": " + circuit_words(backend->circuit().report());
        if (backend->health().is_checked()) {
            state.detail += health_words(backend->health().report());
        }
        state.detail += "\n";
    }
    if (draining) {
        state.not_ready = "draining";
    } else if (!backends.any_usable()) {
        state.not_ready = "no usable backend";
    }
    return state;
}

void collect_health(const upstream::Backends& backends, telemetry::Metrics& into)
{
    std::vector<std::pair<std::string_view, bool>> healthy;
    for (const auto& backend : backends.all()) {
        if (backend->health().is_checked()) {
            healthy.emplace_back(backend->name(), !backend->health().is_unhealthy());
        }
    }
    into.set_backend_health(healthy);
}

}  // namespace llmproxy::app
