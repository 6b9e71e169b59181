#pragma once

#include "llmproxy/core/task.hpp"
#include "llmproxy/net/stream.hpp"
#include "llmproxy/upstream/settings.hpp"

#include <memory>

namespace llmproxy::upstream {

/// An OpenAI-like API inside this process: an HTTP/1.1 server on one end of a local socket pair.
///
/// What it says follows from the request alone, save for `created` and a running number in ids.
/// Routes, rules and the knobs that a model name may carry are in docs/mock-provider.md.
/// Thread safety: `serve` may be called concurrently; connections share two counters.
/// Lifetime: a running `serve` keeps what it needs, so the provider may be destroyed before it.
class MockProvider {
public:
    explicit MockProvider(MockSettings settings);
    ~MockProvider();

    /// Answers requests until the other side closes, a message is malformed, or a reply was cut on
    /// purpose; then closes the stream. While it paces a reply it notices within 100 ms that the
    /// other side is gone. Has no deadline of its own: who holds the other end decides how long a
    /// connection idles. Runs on the caller's executor, a strand. Never throws; a cancellation ends
    /// it like a closed connection.
    [[nodiscard]] core::Task<void> serve(std::shared_ptr<net::Stream> stream) const;

private:
    struct State;
    std::shared_ptr<State> state_;  // shared with running connections
};

}  // namespace llmproxy::upstream
