#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/net/stream.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <sys/socket.h>

namespace llmproxy::net {

/// Ends the operations of a stream at a deadline: the one outstanding by `cancel`, every later one
/// because the socket has been shut down. The stream is of no use afterwards.
///
/// Thread safety: none; lives on the stream's strand. Lifetime: the stream must outlive the guard,
/// unmoved.
class DeadlineGuard {
public:
    DeadlineGuard(boost::asio::any_io_executor strand, Stream& stream, core::Deadline deadline)
    {
        if (deadline.never()) {
            return;
        }
        state_ = std::make_shared<State>(strand, stream);
        state_->timer.expires_at(deadline.time());
        state_->timer.async_wait([state = state_](const boost::system::error_code& code) {
            if (!code && state->stream != nullptr) {
                state->expired = true;
                state->stream->cancel();
                ::shutdown(state->stream->socket().native_handle(), SHUT_RDWR);
            }
        });
    }
    DeadlineGuard(const DeadlineGuard&) = delete;
    DeadlineGuard& operator=(const DeadlineGuard&) = delete;
    ~DeadlineGuard()
    {
        if (state_) {
            state_->stream = nullptr;
            state_->timer.cancel();
        }
    }

    [[nodiscard]] bool expired() const noexcept { return state_ && state_->expired; }

private:
    struct State {
        State(const boost::asio::any_io_executor& strand, Stream& guarded)
            : timer(strand), stream(&guarded)
        {
        }
        boost::asio::steady_timer timer;
        Stream* stream;
        bool expired = false;
    };
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::net
