#pragma once

#include "attempt.hpp"
#include "request_context.hpp"

#include "llmproxy/policy/retry_plan.hpp"

#include <boost/container/static_vector.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace llmproxy::pipeline {

/// What lies between the attempts of one request: reports to circuits and keys, asks the plan, waits, chooses again,
/// and remembers the last reply. All rules are the plan's.
///
/// Lives on the session's strand, shorter than its context. Costs nothing to speak of while the first attempt succeeds.
class Retries {
public:
    explicit Retries(RequestContext& context);

    /// The next attempt begins.
    void dispatched(const policy::RetryDecision& decision);
    /// Whether an attempt could follow the one under way.
    [[nodiscard]] bool possible() const noexcept;

    /// The attempt got no connection.
    [[nodiscard]] policy::RetryDecision not_leased(const core::Failure& failure,
                                                   core::SteadyTime began);
    /// The attempt has failed.
    [[nodiscard]] policy::RetryDecision failed(const Attempt& attempt);
    /// The attempt has answered.
    void answered(const Attempt& attempt);

    /// Its reply, in case nothing better comes.
    void keep(std::unique_ptr<KeptReply> reply) { kept_ = std::move(reply); }
    /// Waits as decided, takes what the next attempt needs; says why there is none after all.
    core::Task<std::optional<policy::RetryStop>> prepare(const policy::RetryDecision& decision);
    /// Answers after `prepare` has stopped the retries.
    /// \param last  the attempt whose reply was not kept because it is too long; nullptr if there is none.
    core::Task<core::Result<void>> give_up(policy::RetryStop stop, Attempt* last);
    /// An error goes to the client next.
    void close(bool circuit_open);

private:
    policy::RetryDecision decide(const policy::AttemptFacts& facts);
    void report(const policy::AttemptFacts& facts);
    void note_only(std::uint64_t sent, core::SteadyTime began);
    void note(std::string_view outcome, unsigned status, std::uint64_t sent,
              core::SteadyTime began);
    core::Task<void> sleep(core::Duration delay);
    core::Task<core::Result<void>> relay_kept();

    RequestContext& context_;
    policy::ThreadRandom random_;
    policy::RetryPlan plan_;
    policy::RequestKind kind_;
    core::Duration waited_{0};  // before the attempt under way
    std::vector<const upstream::Backend*> tried_;
    std::unique_ptr<KeptReply> kept_;
    core::Failure failure_;  // of the last attempt, or what stands for its reply
};

}  // namespace llmproxy::pipeline
