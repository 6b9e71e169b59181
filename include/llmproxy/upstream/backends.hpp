#pragma once

#include "llmproxy/upstream/backend.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace llmproxy::upstream {

/// The configured backends, and which of them serves a model.
///
/// Thread safety: immutable once made; every member may be called concurrently. A reload makes a new set that shares
/// the unchanged backends with their pools.
class Backends {
public:
    /// \param before  the running set, whose unchanged backends are taken over; nullptr at start.
    /// Fails with what made a backend unusable, e.g. a certificate that cannot be read.
    static core::Result<std::shared_ptr<const Backends>>
    make(const Settings& settings, Surroundings surroundings, const Backends* before);

    [[nodiscard]] const std::vector<std::shared_ptr<Backend>>& all() const noexcept { return all_; }
    [[nodiscard]] std::shared_ptr<Backend> by_name(std::string_view name) const noexcept;
    /// Of the backends with the lowest priority number that serve `model`, the next by weight; none if there is none.
    [[nodiscard]] std::shared_ptr<Backend> choose(std::string_view model) const;

private:
    Backends() = default;
    std::vector<std::shared_ptr<Backend>> all_;  // enabled ones, by priority
    std::unique_ptr<class Turns> turns_;

public:
    ~Backends();
};

}  // namespace llmproxy::upstream
