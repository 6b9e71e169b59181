#include "send.hpp"

#include "llmproxy/telemetry/log.hpp"

#include <array>
#include <charconv>

namespace llmproxy::handlers::manage {
namespace {

using Pieces = std::span<const std::string_view>;

void note(http::Exchange& exchange, const core::Failure& failure)
{
    exchange.record.outcome = failure.info().code;
    exchange.record.error = failure.detail();
}

std::string stream_head(http::Exchange& exchange, const Reply& reply, std::string_view fields)
{
    const bool chunked = exchange.head().version == 11;
    exchange.keep_alive = exchange.keep_alive && chunked && exchange.body_done();
    std::string head;
    http::append_status_line(head, reply.status, http::reason_of(reply.status));
    head.append(fields).append(reply.fields);
    if (chunked) {
        http::append_field(head, "Transfer-Encoding", "chunked");
    }
    if (!exchange.keep_alive) {
        http::append_field(head, "Connection", "close");
    }
    http::append_field(head, "x-llm-proxy-request-id", exchange.record.request_id);
    head += "\r\n";
    return head;
}

std::string chunk_size(std::size_t size)
{
    std::array<char, 20> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), size, 16).ptr;
    return std::string(digits.data(), end) + "\r\n";
}

core::Task<core::Result<void>> send_pieces(http::Exchange& exchange, BodySource& source)
{
    const bool chunked = exchange.head().version == 11;
    for (;;) {
        auto piece = co_await source.next(exchange.watchdog());
        if (!piece) {
            co_return piece.error();
        }
        if (piece->empty()) {
            break;
        }
        exchange.record.bytes_out += piece->size();
        const auto size = chunk_size(piece->size());
        const std::array<std::string_view, 3> framed{size, *piece, "\r\n"};
        const std::array<std::string_view, 1> bare{*piece};
        auto written = co_await exchange.write(chunked ? Pieces(framed) : Pieces(bare));
        if (!written) {
            co_return written.error();
        }
    }
    constexpr std::array<std::string_view, 1> kLast{"0\r\n\r\n"};
    if (!chunked) {
        co_return core::Result<void>();
    }
    co_return co_await exchange.write(Pieces(kLast));
}

core::Task<void> send_stream(http::Exchange& exchange, Reply& reply, std::string_view fields)
{
    exchange.record.status = static_cast<std::uint16_t>(reply.status);
    const auto head = stream_head(exchange, reply, fields);
    const std::array<std::string_view, 1> pieces{head};
    auto sent = co_await exchange.write(Pieces(pieces));
    if (sent && exchange.head().verb != http::Verb::head) {
        exchange.watchdog().watch_client(true);
        sent = co_await send_pieces(exchange, *reply.stream);
        exchange.watchdog().watch_client(false);
    }
    if (!sent) {
        note(exchange, sent.error());
        const bool by_client = sent.error().errc() == core::Errc::client_gone;
        telemetry::log("manage").write(by_client ? telemetry::Level::debug : telemetry::Level::warn,
                                       exchange.record.request_id, "an answer was cut",
                                       {{"error", sent.error().describe()}});
        exchange.cut(true);
    }
}

}  // namespace

core::Task<void> send(http::Exchange& exchange, Reply reply, std::string_view fields)
{
    if (reply.stream) {
        co_await send_stream(exchange, reply, fields);
        co_return;
    }
    auto lines = std::string(fields) + reply.fields;
    std::string body;
    if (!reply.body.is_null()) {
        http::append_field(lines, "Content-Type", "application/json");
        body = to_text(reply.body) + "\n";
    }
    auto written = co_await exchange.reply(reply.status, lines, body);
    if (!written) {
        note(exchange, written.error());
    }
}

}  // namespace llmproxy::handlers::manage
