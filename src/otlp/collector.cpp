#include "collector.hpp"

#include "llmproxy/core/host.hpp"
#include "llmproxy/core/text.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/net/buffer.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace llmproxy::otlp {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kPath = "/v1/traces";
constexpr std::size_t kMaxHead = std::size_t{32} * 1024;
constexpr std::array kRetryable{429U, 502U, 503U, 504U};  // OTLP 1.0, "Retryable Response Codes"

core::Failure unusable(std::string detail)
{
    return {core::Errc::internal, core::Origin::self, std::move(detail)};
}

Posted later(std::string detail)
{
    return {Posted::End::later, std::move(detail)};
}

Posted broken(const net::Watchdog& watchdog, const boost::system::error_code& code)
{
    const bool late = watchdog.verdict() == net::Watchdog::Verdict::expired;
    return later(late ? "no answer in time" : code.message());
}

Posted judge(unsigned status)
{
    if (status >= 200 && status < 300) {
        return {Posted::End::taken, {}};
    }
    const bool again = std::find(kRetryable.begin(), kRetryable.end(), status) != kRetryable.end();
    return {again ? Posted::End::later : Posted::End::refused, "status " + std::to_string(status)};
}

/// Reads the final head; its body tells nothing that is needed.
core::Task<Posted> read_status(net::Stream& stream, net::Watchdog& watchdog)
{
    net::Buffer buffer;
    std::size_t scanned = 0;
    for (;;) {
        const auto length = http::find_head_end(buffer.data(), scanned);
        if (length == 0) {
            const auto room = buffer.prepare(kMaxHead);
            if (room.empty()) {
                co_return later("its answer's head is too large");
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
            http::parse_response(buffer.data().substr(0, length), http::Verb::post, head);
        if (!parsed) {
            co_return later(parsed.error().describe());
        }
        if (head.status >= 200) {
            co_return judge(head.status);
        }
        buffer.consume(length);
        scanned = 0;
    }
}

}  // namespace

core::Result<Collector> Collector::make(const Settings& settings, net::Resolver& resolver)
{
    Collector made(resolver);
    std::string_view rest = settings.endpoint;
    const auto scheme = rest.find("://");
    const bool tls = core::iequals(rest.substr(0, scheme), "https");
    if (scheme == std::string_view::npos ||
        (!tls && !core::iequals(rest.substr(0, scheme), "http"))) {
        return unusable("tracing.endpoint is no http(s) URL: " + settings.endpoint);
    }
    rest.remove_prefix(scheme + 3);
    const auto authority = rest.substr(0, rest.find('/'));
    auto path = std::string(rest.substr(authority.size()));
    while (path.ends_with('/')) {
        path.pop_back();
    }
    if (!path.ends_with(kPath)) {
        path += kPath;
    }
    const auto colon = authority.rfind(':');
    const bool has_port =
        colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos;
    const auto host = core::Host::parse(authority.substr(0, has_port ? colon : authority.size()));
    const auto port = has_port ? core::parse_port(authority.substr(colon + 1))
                               : std::optional<std::uint16_t>(tls ? 443 : 80);
    if (!host || !port) {
        return unusable("tracing.endpoint has no usable host and port: " + settings.endpoint);
    }
    made.host_ = host->to_lookup();
    made.port_ = *port;
    if (tls) {
        net::ClientTlsSettings verify;
        verify.ca = settings.ca;
        auto context = net::make_client_context(verify);
        if (!context) {
            return context.error();
        }
        made.tls_ = std::move(*context);
    }
    core::append_all(made.head_, "POST ", path, " HTTP/1.1\r\n");
    http::append_field(made.head_, "Host", authority);
    http::append_field(made.head_, "User-Agent", "llm-proxy");
    http::append_field(made.head_, "Content-Type", "application/json");
    for (const auto& [name, value] : settings.headers) {
        http::append_field(made.head_, name, value);
    }
    if (!settings.authorization.empty()) {
        http::append_field(made.head_, "Authorization", settings.authorization.reveal());
    }
    made.head_ += "Connection: close\r\n";
    return made;
}

core::Task<Posted> Collector::post(std::string body, core::Deadline deadline)
{
    const auto strand = co_await asio::this_coro::executor;
    net::ConnectTarget target(host_, port_, tls_);
    auto stream = co_await net::connect(*resolver_, std::move(target), deadline);
    if (!stream) {
        co_return later(stream.error().describe());
    }
    net::Watchdog watchdog(strand, *stream);
    watchdog.expect(deadline);
    auto request = head_;
    http::append_field(request, "Content-Length", std::to_string(body.size()));
    request += "\r\n";
    const std::array<std::string_view, 2> pieces{request, body};
    const auto written = co_await stream->write(std::span<const std::string_view>(pieces));
    if (!written) {
        co_return broken(watchdog, written.error());
    }
    co_return co_await read_status(*stream, watchdog);
}

}  // namespace llmproxy::otlp
