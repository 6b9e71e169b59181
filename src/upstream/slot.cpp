#include "llmproxy/upstream/slot.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>

namespace llmproxy::upstream {
namespace {

namespace asio = boost::asio;
using Gate = policy::AdmissionGate;

/// Where a slot arrives for one waiter. Shared with the gate's callback, touched on the waiter's strand only.
struct Arrival {
    explicit Arrival(const asio::any_io_executor& strand) : timer(strand) {}
    asio::steady_timer timer;
    Gate::Permit permit;
};

}  // namespace

core::Task<core::Result<Gate::Permit>> wait_for_slot(Gate& gate, core::Deadline deadline,
                                                     net::Watchdog& watchdog)
{
    if (auto permit = gate.try_enter()) {
        co_return std::move(permit);
    }
    const auto strand = watchdog.executor();
    auto arrival = std::make_shared<Arrival>(strand);
    arrival->timer.expires_at(deadline.time());
    Gate::Granted granted = [arrival, strand](Gate::Permit permit) {
        auto carried = std::make_shared<Gate::Permit>(std::move(permit));
        asio::post(strand, [arrival, carried] {
            arrival->permit = std::move(*carried);
            arrival->timer.cancel();
        });
    };
    auto entry = gate.enter(std::move(granted));
    if (entry.verdict == Gate::Verdict::admitted) {
        co_return std::move(entry.permit);
    }
    if (entry.verdict == Gate::Verdict::refused) {
        co_return core::Failure(core::Errc::overloaded, core::Origin::self, "queue full");
    }
    watchdog.guard_timer(&arrival->timer);
    watchdog.expect(core::Deadline());  // that of the phase before must not end this wait
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    auto [code] = co_await arrival->timer.async_wait(token);
    watchdog.guard_timer(nullptr);
    if (arrival->permit) {
        co_return std::move(arrival->permit);
    }
    // A slot granted meanwhile is dropped by its posted callback and goes to the next in the queue.
    gate.leave_queue(entry.ticket);
    switch (watchdog.verdict()) {
    case net::Watchdog::Verdict::client_gone:
        co_return core::Failure(core::Errc::client_gone, core::Origin::client, "left the queue");
    case net::Watchdog::Verdict::stopped:
        co_return core::Failure(core::Errc::cancelled, core::Origin::self, "shutdown");
    default:
        co_return core::Failure(core::Errc::overloaded, core::Origin::self, "queue timeout", code);
    }
}

}  // namespace llmproxy::upstream
