#include "llmproxy/net/task_group.hpp"

#include "wakeup.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace llmproxy::net {

namespace asio = boost::asio;

class TaskGroup::Node {
public:
    explicit Node(asio::any_io_executor strand) : executor(std::move(strand)) {}

    asio::any_io_executor executor;
    asio::cancellation_signal signal;  // used on `executor`, but for the slot given to co_spawn

    // Guarded by State::mutex_.
    std::shared_ptr<Node> next;
    Node* previous = nullptr;
    bool linked = false;
    bool started = false;
    bool cancelled = false;
};

class TaskGroup::State {
public:
    explicit State(OnEscape on_escape) : on_escape_(std::move(on_escape)) {}

    void link(const std::shared_ptr<Node>& node)
    {
        const std::lock_guard lock(mutex_);
        node->linked = true;
        node->next = first_;
        if (first_) {
            first_->previous = node.get();
        }
        first_ = node;
        ++running_;
    }

    // A signal may only be emitted once co_spawn has taken its slot.
    void mark_started(const std::shared_ptr<Node>& node)
    {
        const std::lock_guard lock(mutex_);
        node->started = true;
        if (node->linked && node->cancelled) {
            emit(node);
        }
    }

    void unlink(const std::shared_ptr<Node>& node) noexcept
    {
        const std::lock_guard lock(mutex_);
        node->linked = false;
        if (node->next) {
            node->next->previous = node->previous;
        }
        (node->previous == nullptr ? first_ : node->previous->next) = std::move(node->next);
        if (--running_ == 0) {
            for (const auto& waiter : waiters_) {
                waiter->wake();
            }
            waiters_.clear();
        }
    }

    void cancel_all()
    {
        const std::lock_guard lock(mutex_);
        for (auto node = first_; node; node = node->next) {
            if (!std::exchange(node->cancelled, true) && node->started) {
                emit(node);
            }
        }
    }

    [[nodiscard]] std::size_t running() const noexcept
    {
        const std::lock_guard lock(mutex_);
        return running_;
    }

    /// False when nothing runs, so that there is nothing to wait for.
    [[nodiscard]] bool add_waiter(const std::shared_ptr<Wakeup>& waiter)
    {
        const std::lock_guard lock(mutex_);
        if (running_ != 0) {
            waiters_.push_back(waiter);
        }
        return running_ != 0;
    }

    void remove_waiter(const std::shared_ptr<Wakeup>& waiter) noexcept
    {
        const std::lock_guard lock(mutex_);
        std::erase(waiters_, waiter);
    }

    void report(const Node& node, const std::exception_ptr& escaped) noexcept
    {
        bool cancelled = false;
        {
            const std::lock_guard lock(mutex_);
            cancelled = node.cancelled;
        }
        try {
            if (!cancelled || !is_abort(escaped)) {
                on_escape_(escaped);
            }
        } catch (...) {
            // The report itself failed: there is nobody left to tell.
            return;
        }
    }

private:
    static void emit(const std::shared_ptr<Node>& node)
    {
        asio::post(node->executor,
                   [node] { node->signal.emit(asio::cancellation_type::terminal); });
    }

    static bool is_abort(const std::exception_ptr& escaped)
    {
        try {
            std::rethrow_exception(escaped);
        } catch (const boost::system::system_error& error) {
            return error.code() == asio::error::operation_aborted;
        } catch (...) {
            return false;
        }
    }

    const OnEscape on_escape_;
    mutable std::mutex mutex_;
    std::shared_ptr<Node> first_;
    std::size_t running_ = 0;
    std::vector<std::shared_ptr<Wakeup>> waiters_;
};

/// A task's membership, ended when its completion handler has run or was destroyed without running.
class TaskGroup::Ticket {
public:
    Ticket(std::shared_ptr<State> state, std::shared_ptr<Node> node)
        : state_(std::move(state)), node_(std::move(node))
    {
        state_->link(node_);
    }
    Ticket(Ticket&&) noexcept = default;
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket()
    {
        if (state_) {
            state_->unlink(node_);
        }
    }

    void operator()(const std::exception_ptr& escaped)
    {
        if (escaped) {
            state_->report(*node_, escaped);
        }
    }

private:
    std::shared_ptr<State> state_;
    std::shared_ptr<Node> node_;
};

/// Takes the waiter back however the wait ends, also when the coroutine is destroyed in it.
class TaskGroup::Joining {
public:
    Joining(std::shared_ptr<State> state, std::shared_ptr<Wakeup> wakeup)
        : state_(std::move(state)), wakeup_(std::move(wakeup)), needed_(state_->add_waiter(wakeup_))
    {
    }
    Joining(const Joining&) = delete;
    Joining& operator=(const Joining&) = delete;
    ~Joining() { state_->remove_waiter(wakeup_); }

    [[nodiscard]] bool needed() const noexcept { return needed_; }
    [[nodiscard]] const std::shared_ptr<Wakeup>& wakeup() const noexcept { return wakeup_; }

private:
    std::shared_ptr<State> state_;
    std::shared_ptr<Wakeup> wakeup_;
    bool needed_;
};

TaskGroup::TaskGroup(OnEscape on_escape) : state_(std::make_shared<State>(std::move(on_escape))) {}

TaskGroup::~TaskGroup()
{
    state_->cancel_all();
}

void TaskGroup::spawn(const asio::any_io_executor& executor, core::Task<void> task)
{
    const auto node = std::make_shared<Node>(executor);
    asio::co_spawn(executor, std::move(task),
                   asio::bind_cancellation_slot(node->signal.slot(), Ticket(state_, node)));
    state_->mark_started(node);
}

void TaskGroup::cancel_all()
{
    state_->cancel_all();
}

std::size_t TaskGroup::running() const noexcept
{
    return state_->running();
}

core::Task<bool> TaskGroup::join(core::Deadline deadline)
{
    const auto strand = co_await asio::this_coro::executor;
    const auto state = state_;
    const Joining joining(state, std::make_shared<Wakeup>(strand));
    if (joining.needed()) {
        co_await joining.wakeup()->wait(deadline);
    }
    co_return state->running() == 0;
}

}  // namespace llmproxy::net
