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

void collect_backends(const upstream::Backends& backends, telemetry::Metrics& into)
{
    for (const auto& backend : backends.all()) {
        const auto circuit = backend->circuit().report();
        telemetry::BackendFigures figures;
        figures.name = backend->name();
        figures.circuit = static_cast<unsigned>(circuit.state);
        figures.transitions = circuit.entered;
        for (std::size_t i = 0; i < backend->keys().size(); ++i) {
            figures.resting.push_back(backend->keys().is_cooling(i));
        }
        figures.idle = backend->idle();
        figures.leased = backend->leased();
        figures.connects = backend->connects();
        figures.reuses = backend->reuses();
        if (backend->health().is_checked()) {
            figures.healthy = !backend->health().is_unhealthy();
        }
        into.show_backend(figures);
    }
}

}  // namespace llmproxy::app
