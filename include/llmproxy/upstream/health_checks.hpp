#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/task.hpp"
#include "llmproxy/net/task_group.hpp"
#include "llmproxy/policy/backend_health.hpp"
#include "llmproxy/policy/random.hpp"
#include "llmproxy/upstream/backends.hpp"

#include <boost/asio/io_context.hpp>

#include <memory>

namespace llmproxy::telemetry {
class Metrics;
}

namespace llmproxy::upstream {

/// Asks each backend that has a `health_check` for its path, at its interval, on connections of their own, and tells the
/// backend's `health()` what came of it. Changes are logged, checks counted.
///
/// Thread safety: every member may be called concurrently. Lifetime: join before destroying it; the references outlive it.
class HealthChecks {
public:
    HealthChecks(boost::asio::io_context& context, telemetry::Metrics& metrics,
                 policy::RandomSource& random, net::TaskGroup::OnEscape on_escape);

    /// From now on the backends of this set are checked, each at once and then at its interval; checks of an earlier set
    /// are cancelled.
    void follow(const Backends& backends);
    /// Cancels all checks.
    void stop();
    /// Waits until none runs; false when the deadline passes before that. Call on a strand.
    core::Task<bool> join(core::Deadline deadline) { return tasks_.join(deadline); }

private:
    core::Task<void> watch(std::shared_ptr<Backend> backend);

    boost::asio::io_context& context_;
    telemetry::Metrics& metrics_;
    policy::RandomSource& random_;
    net::TaskGroup tasks_;
};

/// What a check brought: its result, the status if a reply came, and words for logs.
struct CheckOutcome {
    policy::CheckResult result = policy::CheckResult::bad_reply;
    unsigned status = 0;
    std::string detail;
};

/// One check of a backend. Runs on the caller's strand and ends with the check's own time limit.
/// Throws operation_aborted when it is cancelled, like any wait.
core::Task<CheckOutcome> check_health(std::shared_ptr<Backend> backend);

}  // namespace llmproxy::upstream
