#pragma once

#include "llmproxy/core/clock.hpp"

namespace llmproxy::net {

/// Decides how many threads of a pool run, out of how busy those that run have been.
///
/// One thread takes what there is with the fewest wake-ups and with everything in its own caches; a second is worth its price
/// only when the first has no time left. So the pool grows at once when it is busy and shrinks after a while of calm.
/// Thread safety: none.
class WorkerDemand {
public:
    /// \param most  threads there are; at least one runs always.
    explicit WorkerDemand(unsigned most) noexcept;

    /// One look at the pool; how many are to run from now on.
    /// \param busy  what those that run spent running or waiting for a processor since the last look, added up.
    /// \param passed  time since the last look.
    unsigned look(core::Duration busy, core::Duration passed) noexcept;

    [[nodiscard]] unsigned running() const noexcept { return running_; }
    /// How long until the next look: rarer while there is next to nothing to do.
    [[nodiscard]] core::Duration pause() const noexcept;

private:
    unsigned most_;
    unsigned running_ = 1;
    bool quiet_ = true;
    double usual_ = 0;           // threads' worth of work, over about half a second
    core::Duration settled_{0};  // since the last change
};

}  // namespace llmproxy::net
