#pragma once

#include "reply.hpp"
#include "request_context.hpp"
#include "upload.hpp"

#include "llmproxy/policy/retry_plan.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llmproxy::pipeline {

/// An upstream's reply that was read to its end and not relayed yet.
struct KeptReply {
    ReplyHead reply;
    std::string body;
};

/// One attempt: sends the request over a leased connection and relays the reply, or says why that is no answer.
///
/// Lives on the session's strand. Once `run` was called, an upload must be ended before this object is.
class Attempt {
public:
    enum class Next : std::uint8_t {
        answered,  ///< the reply has been relayed, whole or cut: `result`
        failed,    ///< see `facts`; `pass_on` answers with what there is
        without_usage  ///< the backend refuses stream_options: once more without our addition, not counted
    };

    Attempt(RequestContext& context, upstream::Lease lease);

    /// \param may_retry  whether another attempt could follow.
    core::Task<Next> run(bool may_retry);
    /// After `failed`: relays the reply, or fails with what happened in its place.
    core::Task<core::Result<void>> pass_on();
    [[nodiscard]] const core::Result<void>& result() const noexcept { return result_; }

    [[nodiscard]] const policy::AttemptFacts& facts() const noexcept { return facts_; }
    [[nodiscard]] const core::Failure& failure() const noexcept { return failure_; }
    [[nodiscard]] bool has_reply() const noexcept
    {
        return facts_.end == policy::AttemptEnd::refused && failure_.errc() == core::Errc::none;
    }
    /// The reply can be taken away from the connection, which then goes back to its pool.
    [[nodiscard]] bool reply_is_whole() const noexcept { return has_reply() && whole_; }
    [[nodiscard]] std::unique_ptr<KeptReply> take_reply();

    [[nodiscard]] unsigned status() const noexcept { return reply_.head.status; }
    [[nodiscard]] std::uint64_t bytes_sent() const noexcept { return sent_; }
    [[nodiscard]] core::SteadyTime asked() const noexcept { return asked_; }

    /// How it failed: the class of a reply that was refused, or an error's code.
    [[nodiscard]] std::string_view outcome() const noexcept;
    /// What a trace shows of it: sending, waiting for the reply's head, relaying.
    void note_parts(telemetry::TraceAttempt& into) const;

    [[nodiscard]] bool uploading() const noexcept { return upload_.running(); }
    /// Ends an upload that still runs.
    core::Task<void> end_upload() { return upload_.join(); }
    void finish();

private:
    net::IoResult<void> send_request();
    core::Task<net::IoResult<void>> send_rest();
    Next failed(policy::AttemptEnd end, core::Failure failure);
    Next died(core::Failure failure);
    Next no_head(const core::Failure& failure);
    Next cut_short(const core::Failure& failure);
    core::Task<Next> refused();
    core::Task<Next> tunnel();
    Next note_relayed();

    RequestContext& context_;
    upstream::Lease lease_;
    Upload upload_;
    ReplyHead reply_;
    std::optional<Relay> relay_;
    policy::AttemptFacts facts_;
    core::Failure failure_;
    core::Result<void> result_;
    core::SteadyTime began_{};  // only where it is traced
    core::SteadyTime asked_{};
    core::SteadyTime head_at_{};  // of the reply
    std::string head_;
    std::array<std::string_view, 1 + kBodyPieces>
        pieces_;            // the request: head, and the held body around its splices
    std::size_t sent_ = 0;  // bytes of them
    std::size_t total_ = 0;
    bool whole_ = false;
};

}  // namespace llmproxy::pipeline
