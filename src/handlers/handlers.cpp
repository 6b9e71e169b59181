#include "llmproxy/handlers/handlers.hpp"

#include "llmproxy/http/content_coding.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace llmproxy::handlers {
namespace {

using core::Errc;
using core::Failure;
using core::Origin;

core::Task<void> answer(http::Exchange& exchange, unsigned status, std::string_view fields,
                        std::string body)
{
    auto written = co_await exchange.reply(status, fields, body);
    if (!written) {
        exchange.record.outcome = written.error().info().code;
    }
}

bool is_read(const http::Exchange& exchange)
{
    const auto verb = exchange.head().verb;
    return verb == http::Verb::get || verb == http::Verb::head;
}

core::Task<void> refuse_method(http::Exchange& exchange)
{
    const Failure failure(Errc::method_not_allowed, Origin::client);
    co_await exchange.reply_error(failure, "Allow: GET, HEAD\r\n");
}

struct Page {
    std::string text;
    bool compressed = false;
};

core::Task<Page> make_page(telemetry::Metrics& metrics, bool compress)
{
    Page page;
    page.text = metrics.render();
    if (compress) {
        if (auto smaller = http::gzip(page.text)) {
            page.text = std::move(*smaller);
            page.compressed = true;
        }
    }
    co_return page;
}

}  // namespace

core::Task<void> Health::handle(http::Exchange& exchange)
{
    exchange.record.route = "health";
    if (!is_read(exchange)) {
        co_await refuse_method(exchange);
        co_return;
    }
    Readiness state;
    if (exchange.head().target.starts_with("/readyz")) {
        state = readiness_();
    }
    constexpr std::string_view kFields = "Content-Type: text/plain; charset=utf-8\r\n"
                                         "Cache-Control: no-store\r\n";
    const bool ready = state.not_ready.empty();
    std::string body = (ready ? "ok" : state.not_ready) + "\n" + state.detail;
    co_await answer(exchange, ready ? 200 : 503, kFields, std::move(body));
}

core::Task<void> MetricsPage::handle(http::Exchange& exchange)
{
    exchange.record.route = "metrics";
    if (!is_read(exchange)) {
        co_await refuse_method(exchange);
        co_return;
    }
    const auto accepts = exchange.head().fields.get("accept-encoding");
    auto making = make_page(metrics_, http::accepts_coding(accepts, "gzip"));
    auto page =
        co_await boost::asio::co_spawn(background_, std::move(making), boost::asio::use_awaitable);
    std::string fields;
    http::append_field(fields, "Content-Type", telemetry::kMetricsContentType);
    http::append_field(fields, "Vary", "Accept-Encoding");
    if (page.compressed) {
        http::append_field(fields, "Content-Encoding", "gzip");
    }
    co_await answer(exchange, 200, fields, std::move(page.text));
}

core::Task<void> OpenAi::handle(http::Exchange& exchange)
{
    return gateway_.serve(exchange);
}

}  // namespace llmproxy::handlers
