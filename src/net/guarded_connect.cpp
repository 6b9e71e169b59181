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
using Verdict = Watchdog::Verdict;

template <typename T>
core::Task<void> keep_result(core::Task<core::Result<T>> work, std::optional<core::Result<T>>& out)
{
    out = co_await std::move(work);
}

/// Costs a coroutine of its own and a group of two operations: for waits that may be long.
template <typename T>
core::Task<core::Result<T>> run_while_wanted(core::Task<core::Result<T>> work, Watchdog& watchdog)
{
    const auto strand = watchdog.executor();
    std::optional<core::Result<T>> result;
    asio::steady_timer unwanted(strand, core::SteadyTime::max());
    watchdog.guard_timer(&unwanted);
    watchdog.expect(core::Deadline());

    auto attempt = keep_result(std::move(work), result);
    auto working = asio::co_spawn(strand, std::move(attempt), asio::deferred);
    auto leaving = unwanted.async_wait(asio::deferred);
    auto race = asio::experimental::make_parallel_group(std::move(working), std::move(leaving));
    // The group ends when both have: what `keep_result` refers to outlives it.
    auto [order, escaped, code] =
        co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    watchdog.guard_timer(nullptr);

    if (auto ended = why_ended(watchdog)) {
        co_return std::move(*ended);
    }
    if (escaped) {
        std::rethrow_exception(escaped);
    }
    co_return std::move(*result);
}

}  // namespace

std::optional<core::Failure> why_ended(const Watchdog& watchdog)
{
    if (watchdog.verdict() == Verdict::client_gone) {
        return Failure(Errc::client_gone, Origin::client, "while connecting to the upstream");
    }
    if (watchdog.verdict() == Verdict::stopped) {
        return Failure(Errc::cancelled, Origin::self, "shutdown");
    }
    return std::nullopt;
}

core::Task<core::Result<Resolver::Endpoints>>
resolve_while_wanted(Resolver& resolver, std::string host, std::uint16_t port,
                     core::Deadline deadline, Watchdog& watchdog)
{
    if (auto known = resolver.known(host, port)) {
        co_return std::move(*known);
    }
    auto resolving = resolver.resolve(std::move(host), port, deadline);
    co_return co_await run_while_wanted(std::move(resolving), watchdog);
}

core::Task<core::Result<Stream>> connect_while_wanted(Resolver& resolver, ConnectTarget target,
                                                      core::Deadline deadline, Watchdog& watchdog,
                                                      ConnectTimes* times)
{
    return connect_while_wanted(connect(resolver, std::move(target), deadline, times), watchdog);
}

core::Task<core::Result<Stream>> connect_while_wanted(core::Task<core::Result<Stream>> dialling,
                                                      Watchdog& watchdog)
{
    return run_while_wanted(std::move(dialling), watchdog);
}

}  // namespace llmproxy::net
