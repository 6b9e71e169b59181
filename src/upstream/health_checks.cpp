#include "llmproxy/upstream/health_checks.hpp"

#include "llmproxy/core/text.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/telemetry/log.hpp"
#include "llmproxy/telemetry/metrics.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::upstream {
namespace {

namespace asio = boost::asio;
using policy::CheckResult;
using policy::HealthState;

constexpr std::size_t kMaxHead = std::size_t{32} * 1024;
constexpr int kMaxInterim = 16;

/// The first key that does not rest, without taking a turn from the requests.
const core::Secret& key_for_check(Backend& backend)
{
    std::size_t index = 0;
    while (index < backend.keys().size() && backend.keys().is_cooling(index)) {
        ++index;
    }
    return backend.key(index < backend.keys().size() ? index : 0);
}

std::string compose_check(Backend& backend)
{
    std::string head;
    core::append_all(head, "GET ", backend.settings().health_check.path, " HTTP/1.1\r\n");
    http::append_field(head, "Host", backend.url().authority);
    http::append_field(head, "Accept", "*/*");
    http::append_field(head, "User-Agent", "llm-proxy");
    bool authorized = false;
    for (const auto& [name, value] : backend.settings().headers) {
        http::append_field(head, name, value);
        authorized = authorized || core::iequals(name, "authorization");
    }
    if (const auto& key = key_for_check(backend); !key.empty() && !authorized) {
        core::append_all(head, "Authorization: Bearer ", key.reveal(), "\r\n");
    }
    head += "Connection: close\r\n\r\n";
    return head;
}

CheckOutcome not_connected(const core::Failure& failure)
{
    CheckOutcome outcome;
    outcome.detail = failure.describe();
    if (failure.cause() == asio::error::timed_out) {
        outcome.result = CheckResult::timeout;
    } else if (failure.errc() == core::Errc::upstream_tls_failed) {
        outcome.result = CheckResult::tls_failed;
    } else {
        outcome.result = CheckResult::connect_failed;
    }
    return outcome;
}

CheckOutcome broken(const net::Watchdog& watchdog, const boost::system::error_code& code)
{
    CheckOutcome outcome;
    const bool late = watchdog.verdict() == net::Watchdog::Verdict::expired;
    outcome.result = late ? CheckResult::timeout : CheckResult::bad_reply;
    outcome.detail = late ? "no reply in time" : code.message();
    return outcome;
}

/// Reads up to the final head of the reply; what follows it is nobody's.
core::Task<CheckOutcome> read_status(net::Stream& stream, net::Watchdog& watchdog)
{
    net::Buffer buffer;
    std::size_t scanned = 0;
    CheckOutcome outcome;
    for (int interim = 0; interim <= kMaxInterim;) {
        const auto length = http::find_head_end(buffer.data(), scanned);
        if (length == 0) {
            const auto room = buffer.prepare(kMaxHead);
            if (room.empty()) {
                outcome.detail = "head too large";
                co_return outcome;
            }
            const auto got = co_await stream.read_some(room);
            if (!got || *got == 0) {
                co_return broken(watchdog, got ? asio::error::eof : got.error());
            }
            buffer.commit(*got);
            continue;
        }
        http::ResponseHead head;
        const auto parsed =
            http::parse_response(buffer.data().substr(0, length), http::Verb::get, head);
        if (!parsed) {
            outcome.detail = parsed.error().describe();
            co_return outcome;
        }
        if (head.status >= 200) {
            outcome.result = head.status < 300 ? CheckResult::passed : CheckResult::refused;
            outcome.status = head.status;
            co_return outcome;
        }
        buffer.consume(length);
        scanned = 0;
        ++interim;
    }
    outcome.detail = "too many interim heads";
    co_return outcome;
}

void log_change(const Backend& backend, const policy::BackendHealth::Change& change,
                const CheckOutcome& outcome)
{
    auto& log = telemetry::log("upstream");
    if (change.to == HealthState::unhealthy) {
        log.warn({}, "a backend was found unhealthy",
                 {{"backend", backend.name()},
                  {"check", policy::to_string(outcome.result)},
                  {"status", outcome.status},
                  {"detail", outcome.detail}});
    } else if (change.from == HealthState::unhealthy) {
        log.info({}, "a backend is healthy again",
                 {{"backend", backend.name()}, {"unhealthy_ms", change.lasted}});
    }
}

}  // namespace

core::Task<CheckOutcome> check_health(std::shared_ptr<Backend> backend)
{
    const auto strand = co_await asio::this_coro::executor;
    const auto deadline = core::Deadline::after(std::chrono::steady_clock::now(),
                                                backend->settings().health_check.timeout);
    auto stream = co_await backend->connect(deadline);
    if (!stream) {
        co_return not_connected(stream.error());
    }
    net::Watchdog watchdog(strand, *stream);
    watchdog.expect(deadline);
    const auto request = compose_check(*backend);
    const auto written = co_await stream->write(request);
    if (!written) {
        co_return broken(watchdog, written.error());
    }
    co_return co_await read_status(*stream, watchdog);
}

HealthChecks::HealthChecks(asio::io_context& context, telemetry::Metrics& metrics,
                           policy::RandomSource& random, net::TaskGroup::OnEscape on_escape)
    : context_(context), metrics_(metrics), random_(random), tasks_(std::move(on_escape))
{
}

void HealthChecks::follow(const Backends& backends)
{
    tasks_.cancel_all();
    for (const auto& backend : backends.all()) {
        if (backend->health().is_checked()) {
            tasks_.spawn(asio::make_strand(context_), watch(backend));
        }
    }
}

void HealthChecks::stop()
{
    tasks_.cancel_all();
}

core::Task<void> HealthChecks::watch(std::shared_ptr<Backend> backend)
{
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
        const auto outcome = co_await check_health(backend);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            co_return;  // how a cancelled check ended says nothing of the backend
        }
        metrics_.health_check(backend->name(), policy::to_string(outcome.result));
        const auto change = backend->health().checked(outcome.result, outcome.status);
        if (change) {
            log_change(*backend, *change, outcome);
        }
        timer.expires_after(backend->health().pause(random_));
        co_await timer.async_wait(asio::use_awaitable);
    }
}

}  // namespace llmproxy::upstream
