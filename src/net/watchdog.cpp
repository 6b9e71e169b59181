#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace llmproxy::net {
namespace {

// Half of what "within one second" leaves.
constexpr std::chrono::milliseconds kLook{400};

}  // namespace

struct Watchdog::State : std::enable_shared_from_this<State> {
    State(boost::asio::any_io_executor strand, Stream& the_client)
        : executor(strand), timer(strand), client(&the_client)
    {
    }

    core::SteadyTime next_look(core::SteadyTime now) const
    {
        return watching ? std::min(deadline.time(), now + kLook) : deadline.time();
    }

    void arm(core::SteadyTime at)
    {
        armed = at;
        timer.expires_at(at);
        timer.async_wait(boost::asio::bind_executor(
            executor, [self = shared_from_this()](const boost::system::error_code& code) {
                if (!code) {
                    self->wake();
                }
            }));
    }

    void ensure(core::SteadyTime now)
    {
        const auto at = next_look(now);
        // A timer that wakes too early only looks and re-arms, so it is moved only to wake sooner.
        if (at != core::SteadyTime::max() && at < armed) {
            arm(at);
        }
    }

    void wake()
    {
        armed = core::SteadyTime::max();
        if (client == nullptr) {
            return;
        }
        const auto now = std::chrono::steady_clock::now();
        if (deadline.passed(now)) {
            finish(verdict == Verdict::none ? Verdict::expired : verdict);
            return;
        }
        if (watching && client->is_open() && client->peer_closed()) {
            finish(Verdict::client_gone);
            return;
        }
        const auto at = next_look(now);
        if (at != core::SteadyTime::max()) {
            arm(at);
        }
    }

    void finish(Verdict why)
    {
        verdict = why;
        deadline = core::Deadline();
        watching = false;
        client->cancel();
        if (upstream != nullptr) {
            upstream->cancel();
        }
        if (waiting != nullptr) {
            waiting->cancel();
        }
    }

    boost::asio::any_io_executor executor;
    boost::asio::steady_timer timer;
    Stream* client;
    Stream* upstream = nullptr;
    boost::asio::steady_timer* waiting = nullptr;
    core::Deadline deadline;
    core::SteadyTime armed = core::SteadyTime::max();
    bool watching = false;
    Verdict verdict = Verdict::none;
};

Watchdog::Watchdog(boost::asio::any_io_executor strand, Stream& client)
    : state_(std::make_shared<State>(std::move(strand), client))
{
}

Watchdog::~Watchdog()
{
    state_->client = nullptr;
    state_->upstream = nullptr;
    state_->waiting = nullptr;
    state_->timer.cancel();
}

void Watchdog::expect(core::Deadline deadline)
{
    if (state_->verdict == Verdict::expired) {
        state_->verdict = Verdict::none;
    }
    // Once stopped or without a client, a wait that begins is over at once.
    const bool ended = state_->verdict != Verdict::none;
    state_->deadline = ended ? core::Deadline(std::chrono::steady_clock::now()) : deadline;
    state_->ensure(std::chrono::steady_clock::now());
}

void Watchdog::guard_upstream(Stream* upstream) noexcept
{
    state_->upstream = upstream;
}

void Watchdog::guard_timer(boost::asio::steady_timer* timer) noexcept
{
    state_->waiting = timer;
}

void Watchdog::watch_client(bool on)
{
    if (state_->watching == on || (on && state_->verdict != Verdict::none)) {
        return;
    }
    state_->watching = on;
    if (on) {
        state_->ensure(std::chrono::steady_clock::now());
    }
}

void Watchdog::stop() noexcept
{
    state_->finish(Verdict::stopped);
}

Watchdog::Verdict Watchdog::verdict() const noexcept
{
    return state_->verdict;
}

boost::asio::any_io_executor Watchdog::executor() const
{
    return state_->executor;
}

}  // namespace llmproxy::net
