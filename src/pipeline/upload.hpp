#pragma once

#include "request_context.hpp"

#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>

namespace llmproxy::pipeline {

/// Sends a request body that is not held, piece by piece, while the reply may already be coming back.
///
/// Runs as a second coroutine on the session's strand. The owner must await `join` before the context, the lease or
/// this object end.
class Upload {
public:
    /// \param upstream  where the body goes; the head has been written.
    Upload(RequestContext& context, net::Stream& upstream);

    /// Starts sending. Does nothing for a request without a body to send.
    void start();
    /// Ends it if it still runs, and waits until it has ended.
    core::Task<void> join();

    /// `start` has been called.
    [[nodiscard]] bool started() const noexcept { return running_ || complete_ || ended_once_; }
    [[nodiscard]] bool running() const noexcept { return running_; }
    /// The whole body has been sent.
    [[nodiscard]] bool complete() const noexcept { return complete_; }
    /// What went wrong on the client's side, or nothing. A failure to write upstream is the reply's to explain.
    [[nodiscard]] const std::optional<core::Failure>& failure() const noexcept { return failure_; }

private:
    core::Task<void> run();
    core::Task<bool> send(std::vector<std::string_view>& runs);

    RequestContext& context_;
    net::Stream& upstream_;
    std::optional<boost::asio::steady_timer>
        ended_;  // never expires; cancelled when `run` has ended
    std::optional<core::Failure> failure_;
    bool chunked_;
    bool running_ = false;
    bool ended_once_ = false;
    bool complete_ = false;
    bool ending_ = false;
};

}  // namespace llmproxy::pipeline
