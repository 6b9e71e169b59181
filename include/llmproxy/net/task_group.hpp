#pragma once

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/core/task.hpp"

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>

namespace llmproxy::net {

/// Owns coroutines that nobody awaits, so that none is detached: counts them, can cancel them, can
/// be waited for, and reports exceptions that escape.
///
/// Thread safety: every member may be called concurrently.
/// Lifetime: join before destroying the group; what still runs then is cancelled and only counted
/// no more. Tasks destroyed with their io_context leave the group too. Cost of a spawn besides the
/// coroutine: one list node.
class TaskGroup {
public:
    /// Called on the task's executor, from any thread. `operation_aborted` after `cancel_all` is no
    /// escape.
    using OnEscape = std::function<void(std::exception_ptr)>;

    explicit TaskGroup(OnEscape on_escape);
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup();

    /// Starts `task` on `executor` (a fresh strand for a session).
    void spawn(const boost::asio::any_io_executor& executor, core::Task<void> task);

    /// Cancels what runs now (cancellation type `terminal`), each on its own executor; later spawns
    /// are not touched.
    void cancel_all();

    [[nodiscard]] std::size_t running() const noexcept;

    /// Waits until nothing runs; false when the deadline passes before that. Call on a strand.
    core::Task<bool> join(core::Deadline deadline);

private:
    class State;
    class Node;
    class Ticket;
    class Joining;
    std::shared_ptr<State> state_;
};

}  // namespace llmproxy::net
