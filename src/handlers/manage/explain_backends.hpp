#pragma once

#include "call.hpp"
#include "shape.hpp"

#include "llmproxy/pipeline/gateway.hpp"

#include <optional>
#include <string>
#include <vector>

namespace llmproxy::handlers::manage {

/// The first of what is found to stand against the request.
class Verdict {
public:
    void against(const core::Result<void>& checked)
    {
        if (!checked) {
            against(checked.error());
        }
    }
    void against(const core::Failure& failure)
    {
        if (!first_) {
            first_ = failure;
        }
    }
    [[nodiscard]] const std::optional<core::Failure>& first() const noexcept { return first_; }

private:
    std::optional<core::Failure> first_;
};

/// What a caller asks about.
struct Question {
    std::string route;  ///< the word that grants and limits have for it
    std::string model;
    std::string host;
    bool forwarded = false;  ///< by the forward proxy
};

/// Where a request may go, by what it names.
struct Places {
    std::vector<const upstream::Target*> targets;
    std::vector<upstream::Target> made;  ///< what `targets` refers to where no model decides
    upstream::Targets* among = nullptr;
};

/// The backends that may get the request; says in `verdict` if there are none.
[[nodiscard]] Places places_of(const pipeline::Policies& policies, const Question& question,
                               Verdict& verdict);

[[nodiscard]] const Shape& candidate_shape();
/// Those places in the order in which they are tried: usable ones first, then by priority. Says in
/// `verdict` if none is usable.
[[nodiscard]] Json show_candidates(const Places& places, const Question& question,
                                   Verdict& verdict);

/// A duration in whole milliseconds, rounded up; null: for ever.
[[nodiscard]] Json whole_milliseconds(core::Duration duration);

}  // namespace llmproxy::handlers::manage
