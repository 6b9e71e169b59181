#pragma once

#include "llmproxy/policy/balancer.hpp"
#include "llmproxy/policy/circuit_breaker.hpp"
#include "llmproxy/upstream/backend.hpp"

#include <boost/container/small_vector.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::upstream {

/// One place that a request can go to.
struct Target {
    std::shared_ptr<Backend> backend;
    std::uint32_t weight = 1;
    /// What the backend is asked for in place of what the client named; empty: the same.
    std::string model;
    std::string model_json;  ///< that as JSON text with its quotes
};

/// A target that was chosen for one attempt.
struct Choice {
    const Target* target = nullptr;
    policy::CircuitBreaker::Permit circuit;
    policy::BackendLoad::Pending pending;  ///< empty while there is only one backend to choose
};

/// The places among which requests are balanced: those of a public model name, or all backends by their patterns.
///
/// A target is usable while its backend's circuit admits. One whose backend its checks find unhealthy is usable only while
/// none that is for the same model is healthy and admits, tried or not: checks never take out the last one.
///
/// Thread safety: every member may be called concurrently. Lifetime: shared backends; `random` must outlive it.
class Targets {
public:
    enum class Match : std::uint8_t { patterns, always };

    /// \param match  whether a target is for the models that its backend's patterns name, or for all.
    Targets(std::vector<Target> targets, Match match, policy::Balancing balancing,
            policy::RandomSource& random);

    /// Whether any of them is for `model`, usable now or not.
    [[nodiscard]] bool serves(std::string_view model) const noexcept;
    /// A usable one for `model`, not on a backend of `tried`; none if there is none.
    [[nodiscard]] std::optional<Choice> choose(std::string_view model,
                                               std::span<const Backend* const> tried);
    /// The one for `model` on that backend, usable now or not; nullptr if there is none.
    [[nodiscard]] const Target* find(std::string_view model, const Backend& backend) const noexcept;
    /// Whether `choose` would find one now.
    [[nodiscard]] bool has_usable(std::string_view model,
                                  std::span<const Backend* const> tried) const noexcept;
    /// How long until the first circuit among those for `model` lets a request through; 0 if one does.
    [[nodiscard]] core::Duration opens_in(std::string_view model) const noexcept;

    [[nodiscard]] const std::vector<Target>& all() const noexcept { return targets_; }

private:
    using Indices = boost::container::small_vector<std::size_t, 16>;
    [[nodiscard]] std::optional<Choice> choose_among(Indices& usable);
    [[nodiscard]] bool has_healthy(std::string_view model) const noexcept;
    [[nodiscard]] bool fits(const Target& target, std::string_view model,
                            std::span<const Backend* const> tried) const noexcept;

    std::vector<Target> targets_;
    Match match_;
    policy::Balancer balancer_;
};

}  // namespace llmproxy::upstream
