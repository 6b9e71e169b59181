#include "llmproxy/net/worker_demand.hpp"

#include <algorithm>

namespace llmproxy::net {
namespace {

constexpr double kFull =
    0.6;  // of a thread's time: beyond it requests begin to wait for each other
constexpr double kSpare =
    0.5;  // of the time of all but one: below it, for a while, one is too many
constexpr double kQuiet = 0.05;
constexpr std::chrono::milliseconds kCalm{500};
constexpr std::chrono::milliseconds kLook{20};
constexpr std::chrono::milliseconds kQuietLook{100};

}  // namespace

WorkerDemand::WorkerDemand(unsigned most) noexcept : most_(std::max(1U, most)) {}

unsigned WorkerDemand::look(core::Duration busy, core::Duration passed) noexcept
{
    if (passed <= core::Duration::zero()) {
        return running_;
    }
    // Threads' worth of work.
    const double work = static_cast<double>(busy.count()) / static_cast<double>(passed.count());
    quiet_ = work < kQuiet && running_ == 1;
    const auto share =
        std::min(1.0, std::chrono::duration<double>(passed) / std::chrono::duration<double>(kCalm));
    usual_ += (work - usual_) * share;
    settled_ += passed;
    if (work > kFull * running_ && running_ < most_) {
        running_ = std::min(most_, running_ * 2);
        usual_ = work;
        settled_ = core::Duration::zero();
    } else if (usual_ < kSpare * (running_ - 1) && settled_ >= kCalm) {
        --running_;
        settled_ = core::Duration::zero();
    }
    return running_;
}

core::Duration WorkerDemand::pause() const noexcept
{
    return quiet_ ? kQuietLook : kLook;
}

}  // namespace llmproxy::net
