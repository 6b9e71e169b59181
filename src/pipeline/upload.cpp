#include "upload.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdio>

namespace llmproxy::pipeline {
namespace {

namespace asio = boost::asio;

std::string chunk_line(std::size_t size)
{
    char line[20];
    const int length = std::snprintf(line, sizeof line, "%zx\r\n", size);
    return {line, static_cast<std::size_t>(length)};
}

}  // namespace

Upload::Upload(RequestContext& context, net::Stream& upstream)
    : context_(context), upstream_(upstream),
      chunked_(context.exchange.head().framing.kind == http::Framing::Kind::chunked)
{
}

void Upload::start()
{
    if (context_.body_is_held || has_no_body(context_.exchange.head())) {
        complete_ = true;
        return;
    }
    running_ = true;
    ended_.emplace(context_.exchange.watchdog().executor(), core::SteadyTime::max());
    auto on_end = [this](std::exception_ptr escaped) {
        running_ = false;
        ended_once_ = true;
        if (escaped) {
            failure_ = core::Failure(core::Errc::internal, core::Origin::self, "upload failed");
            telemetry::log("pipeline")
                .error(context_.exchange.record.request_id, "an exception ended an upload");
        }
        ended_->cancel();
    };
    asio::co_spawn(context_.exchange.watchdog().executor(), run(), std::move(on_end));
}

core::Task<void> Upload::join()
{
    if (!running_) {
        co_return;
    }
    ending_ = true;
    context_.exchange.client().cancel();
    upstream_.cancel();
    constexpr auto token = asio::as_tuple(asio::use_awaitable);
    while (running_) {
        [[maybe_unused]] auto [code] = co_await ended_->async_wait(token);
    }
}

core::Task<bool> Upload::send(std::vector<std::string_view>& runs)
{
    auto& watchdog = context_.exchange.watchdog();
    const auto& settings = context_.policies->settings;
    std::size_t size = 0;
    for (const auto run : runs) {
        size += run.size();
    }
    if (size == 0) {
        co_return true;
    }
    const auto line = chunked_ ? chunk_line(size) : std::string();
    if (chunked_) {
        runs.insert(runs.begin(), line);
        runs.push_back("\r\n");
    }
    watchdog.expect(
        core::Deadline::after(std::chrono::steady_clock::now(), settings.write_timeout));
    auto written = co_await upstream_.write(std::span<const std::string_view>(runs));
    co_return written.has_value();
}

core::Task<void> Upload::run()
{
    auto& exchange = context_.exchange;
    const auto& settings = context_.policies->settings;
    const auto limit = settings.max_upload_bytes;
    std::vector<std::string_view> runs;
    if (!context_.body.empty()) {
        runs.resize(kBodyPieces);
        runs.resize(body_pieces(context_, runs));
        const bool sent = co_await send(runs);
        if (!sent) {
            co_return;
        }
    }
    while (!exchange.body_done() && !ending_) {
        const auto idle =
            core::Deadline::after(std::chrono::steady_clock::now(), settings.stream_idle_timeout);
        auto got = co_await exchange.read_body(runs, idle.min(context_.total));
        if (ending_) {
            co_return;
        }
        if (!got || exchange.body_bytes() > limit) {
            failure_ = got ? core::Failure(core::Errc::request_too_large, core::Origin::client)
                           : got.error();
            upstream_.cancel();
            co_return;
        }
        const bool sent = co_await send(runs);
        if (!sent) {
            co_return;  // the reply, or its absence, says why
        }
    }
    if (ending_) {
        co_return;
    }
    exchange.drop_body();
    if (chunked_) {
        auto written = co_await upstream_.write("0\r\n\r\n");
        if (!written) {
            co_return;
        }
    }
    complete_ = true;
    exchange.watchdog().watch_client(true);
    exchange.watchdog().expect(
        core::Deadline::after(std::chrono::steady_clock::now(), context_.header_timeout()));
}

}  // namespace llmproxy::pipeline
