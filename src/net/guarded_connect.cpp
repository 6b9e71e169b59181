#include "llmproxy/net/guarded_connect.hpp"

#include "llmproxy/net/connector.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <optional>

namespace llmproxy::net {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Failure;
using core::Origin;
using Dialled = std::optional<core::Result<Stream>>;
using Verdict = Watchdog::Verdict;

core::Task<void> dial(core::Task<core::Result<Stream>> dialling, Dialled& out)
{
    out = co_await std::move(dialling);
}

}  // namespace

core::Task<core::Result<Stream>> connect_while_wanted(Resolver& resolver, ConnectTarget target,
                                                      core::Deadline deadline, Watchdog& watchdog)
{
    return connect_while_wanted(connect(resolver, std::move(target), deadline), watchdog);
}

core::Task<core::Result<Stream>> connect_while_wanted(core::Task<core::Result<Stream>> dialling,
                                                      Watchdog& watchdog)
{
    const auto strand = watchdog.executor();
    Dialled dialled;
    asio::steady_timer unwanted(strand, core::SteadyTime::max());
    watchdog.guard_timer(&unwanted);
    watchdog.expect(core::Deadline());

    auto attempt = dial(std::move(dialling), dialled);
    auto connecting = asio::co_spawn(strand, std::move(attempt), asio::deferred);
    auto leaving = unwanted.async_wait(asio::deferred);
    auto race = asio::experimental::make_parallel_group(std::move(connecting), std::move(leaving));
    // The group ends when both have: what `dial` refers to outlives it.
    auto [order, escaped, code] =
        co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    watchdog.guard_timer(nullptr);

    if (watchdog.verdict() == Verdict::client_gone) {
        co_return Failure(Errc::client_gone, Origin::client, "while connecting to the upstream");
    }
    if (watchdog.verdict() == Verdict::stopped) {
        co_return Failure(Errc::cancelled, Origin::self, "shutdown");
    }
    if (escaped) {
        std::rethrow_exception(escaped);
    }
    co_return std::move(*dialled);
}

}  // namespace llmproxy::net
