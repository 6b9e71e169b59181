#pragma once

#include "llmproxy/policy/settings.hpp"
#include "llmproxy/upstream/targets.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::upstream {

/// The configured backends and public model names, and which of them serve a model.
///
/// Thread safety: immutable once made; every member may be called concurrently. A reload makes a new set that shares
/// the unchanged backends with their pools, circuits and resting keys.
class Backends {
public:
    /// \param before  the running set, whose unchanged backends are taken over; nullptr at start.
    /// Fails with what made a backend unusable, e.g. a certificate that cannot be read.
    static core::Result<std::shared_ptr<const Backends>> make(const Settings& settings,
                                                              const policy::Settings& rules,
                                                              Surroundings surroundings,
                                                              const Backends* before);

    [[nodiscard]] const std::vector<std::shared_ptr<Backend>>& all() const noexcept { return all_; }
    [[nodiscard]] std::shared_ptr<Backend> by_name(std::string_view name) const noexcept;

    using PublicModels = std::map<std::string, std::unique_ptr<Targets>, std::less<>>;
    [[nodiscard]] const PublicModels& public_models() const noexcept { return public_; }
    /// The targets of a public model name; nullptr if it is none.
    [[nodiscard]] Targets* public_model(std::string_view name) const noexcept;
    /// All backends, for models by their own name.
    [[nodiscard]] Targets& by_pattern() const noexcept { return *by_pattern_; }

    /// Does to a backend's circuit what an operator wants, and logs it. What is held stays held over reloads, until `reset`.
    /// Fails with Errc::not_found if there is no backend of that name.
    [[nodiscard]] core::Result<void> order_circuit(std::string_view name,
                                                   policy::CircuitOrder order) const;

    /// Whether any circuit would let a request through now.
    [[nodiscard]] bool any_usable() const noexcept;

private:
    Backends() = default;
    std::vector<std::shared_ptr<Backend>> all_;  // enabled ones, by priority
    std::unique_ptr<Targets> by_pattern_;
    PublicModels public_;
};

}  // namespace llmproxy::upstream
