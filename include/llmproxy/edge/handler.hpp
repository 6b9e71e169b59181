#pragma once

#include "llmproxy/core/task.hpp"
#include "llmproxy/edge/settings.hpp"
#include "llmproxy/http/exchange.hpp"
#include "llmproxy/http/target.hpp"

#include <string>
#include <vector>

namespace llmproxy::edge {

/// Answers requests of one kind. `app` passes the implementations.
/// Thread safety: `handle` may be called concurrently, each call on its session's strand.
class Handler {
public:
    virtual ~Handler() = default;
    /// Answers one request and leaves in the exchange's record what came of it. Must not throw for anything that
    /// traffic can cause.
    virtual core::Task<void> handle(http::Exchange& exchange) = 0;
};

/// Which handler a request goes to: by the roles of its listener and its target's form and path.
/// Thread safety: filled before the first listener opens, read concurrently afterwards.
class Routes {
public:
    /// Requests whose path is `path`, or lies below it if it ends in `/`, on listeners that serve `role`.
    void add(Role role, std::string path, Handler& handler);
    /// Requests whose target has that form (RFC 9112, section 3.2), on listeners that serve `role`.
    void add(Role role, http::TargetForm form, Handler& handler);
    /// The handler, or nullptr if nothing on this listener serves the target.
    [[nodiscard]] Handler* find(const ListenerSettings& listener,
                                const http::RequestHead& head) const noexcept;

private:
    struct Entry {
        Role role;
        std::string path;  // of origin-form targets
        http::TargetForm form;
        Handler* handler;
    };
    std::vector<Entry> entries_;
};

}  // namespace llmproxy::edge
