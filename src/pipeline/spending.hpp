#pragma once

#include "llmproxy/accounts/accounts.hpp"
#include "llmproxy/accounts/provider_keys.hpp"
#include "llmproxy/core/failure.hpp"
#include "llmproxy/core/task.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmproxy::pipeline {

struct RequestContext;

/// What a request costs its account: reserved before the first attempt, settled before the last piece of the answer.
///
/// Thread safety: none; lives with its request on the session's strand. Whatever way the request ends, `close` is called
/// once; a Spending destroyed without it leaves what was reserved to `accounts::Grant`.
class Spending {
public:
    Spending(accounts::Accounts& accounts, accounts::Grant grant);

    /// Reserves what the request can cost at whichever backend, and adds to the body the limit that this needs.
    /// Fails like Accounts::reserve.
    core::Task<core::Result<void>> reserve(RequestContext& context);

    /// An attempt at the context's backend is about to be sent.
    void begin_attempt(const RequestContext& context);
    /// It ended without an answer that goes to the client. \param sent  whether any byte of it was.
    void attempt_failed(const RequestContext& context, std::string_view outcome, unsigned status,
                        bool sent);
    /// Before another attempt: if one before may have cost something, as much is reserved once more.
    /// Fails with Errc::insufficient_quota.
    [[nodiscard]] core::Result<void> may_attempt_again();

    /// The answer's usage is known: records it with the attempts before. Does nothing the second time.
    /// Fails with Errc::store_unavailable: then the answer must not look complete.
    core::Task<core::Result<void>> settle(RequestContext& context);
    /// The request is over: settles whatever is not yet.
    core::Task<void> close(RequestContext& context);

    /// Whether a stream has used more than was reserved, where that has to end it. \param events  of it, so far.
    [[nodiscard]] bool is_exhausted(std::uint64_t events) const noexcept;

    void append_ratelimit_lines(std::string& out) const { grant_.append_ratelimit_lines(out); }
    [[nodiscard]] accounts::Grant& grant() noexcept { return grant_; }

private:
    [[nodiscard]] accounts::Attempt describe(const RequestContext& context) const;

    accounts::Accounts& accounts_;
    accounts::Grant grant_;
    std::vector<accounts::Attempt> attempts_;  // that have ended
    std::uint64_t body_bytes_ = 0;
    core::SteadyTime began_{};  // the attempt under way
    bool reserved_ = false;
    bool under_way_ = false;    // an attempt
    bool cost_before_ = false;  // an attempt that failed may have cost something
    bool settled_ = false;
};

/// What the revocation of a token does to a request under way: all its waits end.
void end_when_revoked(RequestContext& context);

}  // namespace llmproxy::pipeline
