#include "flights.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace llmproxy::accounts {

namespace asio = boost::asio;

/// Where what was found arrives. Touched on the strand of who waits only.
struct Flights::Waiter {
    explicit Waiter(const asio::any_io_executor& strand) : timer(strand) {}
    asio::steady_timer timer;
    bool landed = false;
    std::optional<Value> value;
};

void Flights::Lead::land(const std::optional<Value>& value)
{
    auto* const flights = std::exchange(flights_, nullptr);
    if (flights == nullptr) {
        return;
    }
    std::vector<std::shared_ptr<Waiter>> waiters;
    {
        const std::lock_guard lock(flights->mutex_);
        const auto found = flights->flights_.find(hash_);
        waiters = std::move(found->second);
        flights->flights_.erase(found);
    }
    for (auto& waiter : waiters) {
        const auto strand = waiter->timer.get_executor();
        asio::post(strand, [waiter = std::move(waiter), value] {
            waiter->landed = true;
            waiter->value = value;
            waiter->timer.cancel();
        });
    }
}

core::Task<std::optional<Flights::Value>> Flights::Seat::arrival(core::Deadline deadline)
{
    const auto waiter = waiter_;
    if (!waiter->landed) {
        waiter->timer.expires_at(deadline.time());
        constexpr auto token = asio::as_tuple(asio::use_awaitable);
        co_await waiter->timer.async_wait(token);
    }
    co_return waiter->value;
}

Flights::Seat Flights::join(const core::Sha256& hash, const asio::any_io_executor& strand)
{
    const std::lock_guard lock(mutex_);
    const auto [flight, first] = flights_.try_emplace(hash);
    if (first) {
        return Seat(Lead(*this, hash));
    }
    auto waiter = std::make_shared<Waiter>(strand);
    flight->second.push_back(waiter);
    return Seat(std::move(waiter));
}

std::size_t Flights::waiting() const
{
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const auto& [hash, waiters] : flights_) {
        count += waiters.size();
    }
    return count;
}

}  // namespace llmproxy::accounts
