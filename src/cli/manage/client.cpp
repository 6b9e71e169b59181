#include "client.hpp"

#include "llmproxy/core/deadline.hpp"
#include "llmproxy/http/body_reader.hpp"
#include "llmproxy/http/head.hpp"
#include "llmproxy/net/connector.hpp"
#include "llmproxy/net/resolver.hpp"
#include "llmproxy/net/tls_context.hpp"
#include "llmproxy/net/watchdog.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>

#include <csignal>
#include <exception>
#include <optional>

namespace llmproxy::cli::manage {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Failure;
using core::Origin;

constexpr std::chrono::seconds kPatience{30};
constexpr std::size_t kMostHead = 64 * 1024;

core::Deadline soon()
{
    return core::Deadline::after(std::chrono::steady_clock::now(), kPatience);
}

std::string compose(const Access& access, const Question& question)
{
    std::string text = question.method + " " + access.url.path + question.target + " HTTP/1.1\r\n";
    http::append_field(text, "Host", access.url.authority);
    http::append_field(text, "Authorization", "Bearer " + access.token.reveal());
    http::append_field(text, "Accept", "application/json, */*");
    http::append_field(text, "User-Agent", "llm-proxy-cli");
    http::append_field(text, "Connection", "close");
    if (!question.if_match.empty()) {
        http::append_field(text, "If-Match", question.if_match);
    }
    if (!question.body.empty()) {
        http::append_field(text, "Content-Type", "application/json");
    }
    if (!question.body.empty() || question.method != "GET") {
        http::append_field(text, "Content-Length", std::to_string(question.body.size()));
    }
    return text + "\r\n" + question.body;
}

/// One question and its answer on a connection.
class Conversation {
public:
    Conversation(net::Stream& stream, net::Watchdog& watchdog)
        : stream_(stream), watchdog_(watchdog)
    {
    }

    core::Task<core::Result<Answer>> run(std::string request, http::Verb verb, const Sink& sink)
    {
        watchdog_.expect(soon());
        auto written = co_await stream_.write(request);
        if (!written) {
            co_return broken(written.error());
        }
        auto head = co_await read_head(verb);
        if (!head) {
            co_return head.error();
        }
        Answer answer;
        answer.status = head->status;
        answer.etag = head->fields.get("etag");
        const bool streamed = sink && head->status < 300;
        http::BodyReader reader(stream_, buffer_, head->framing,
                                http::ChunkDecoder::Extensions::skip);
        for (;;) {
            std::vector<std::string_view> runs;
            auto taken = reader.take(runs);
            if (!taken) {
                co_return taken.error();
            }
            for (const auto run : runs) {
                if (streamed) {
                    sink(run);
                } else {
                    answer.body.append(run);
                }
            }
            reader.drop();
            if (reader.done()) {
                co_return answer;
            }
            watchdog_.expect(soon());
            auto filled = co_await reader.fill();
            if (!filled) {
                co_return broken(filled.error());
            }
        }
    }

private:
    core::Task<core::Result<http::ResponseHead>> read_head(http::Verb verb)
    {
        std::size_t scanned = 0;
        for (;;) {
            const auto length = http::find_head_end(buffer_.data(), scanned);
            if (length != 0) {
                raw_head_.assign(buffer_.data().substr(0, length));
                buffer_.consume(length);
                http::ResponseHead head;
                auto parsed = http::parse_response(raw_head_, verb, head);
                if (!parsed) {
                    co_return parsed.error();
                }
                co_return head;
            }
            const auto room = buffer_.prepare(kMostHead);
            if (room.empty()) {
                co_return Failure(Errc::upstream_bad_response, Origin::upstream, "head too large");
            }
            auto got = co_await stream_.read_some(room);
            if (!got) {
                co_return broken(got.error());
            }
            if (*got == 0) {
                co_return Failure(Errc::upstream_reset, Origin::upstream, "no answer came");
            }
            buffer_.commit(*got);
        }
    }

    [[nodiscard]] Failure broken(const boost::system::error_code& code) const
    {
        const bool late = watchdog_.verdict() == net::Watchdog::Verdict::expired;
        return Failure(late ? Errc::upstream_timeout : Errc::upstream_reset, Origin::upstream,
                       late ? "no answer in time" : "the connection was lost", code);
    }

    net::Stream& stream_;
    net::Watchdog& watchdog_;
    net::Buffer buffer_;
    std::string raw_head_;
};

core::Task<core::Result<Answer>> converse(net::Resolver& resolver, net::ConnectTarget target,
                                          std::string request, http::Verb verb, const Sink& sink)
{
    const auto strand = co_await asio::this_coro::executor;
    auto stream = co_await net::connect(resolver, std::move(target), soon());
    if (!stream) {
        co_return stream.error();
    }
    net::Watchdog watchdog(strand, *stream);
    Conversation conversation(*stream, watchdog);
    auto answer = co_await conversation.run(std::move(request), verb, sink);
    stream->close();
    co_return answer;
}

core::Task<void> fulfil(core::Task<core::Result<Answer>> work,
                        std::optional<core::Result<Answer>>& answer)
{
    auto got = co_await std::move(work);
    answer.emplace(std::move(got));
}

http::Verb verb_of(const std::string& method)
{
    return boost::beast::http::string_to_verb(method);
}

}  // namespace

core::Result<Answer> ask(const Access& access, const Question& question, const Sink& sink)
{
    std::signal(SIGPIPE, SIG_IGN);
    std::shared_ptr<SSL_CTX> tls;
    if (access.url.tls) {
        net::ClientTlsSettings settings;
        settings.ca = access.ca;
        auto made = net::make_client_context(settings);
        if (!made) {
            return made.error();
        }
        tls = std::move(*made);
    }
    std::optional<core::Result<Answer>> answer;
    std::exception_ptr escaped;
    asio::io_context context(1);
    {
        net::Resolver resolver;
        net::ConnectTarget target(access.url.host, access.url.port, std::move(tls));
        auto work = fulfil(converse(resolver, std::move(target), compose(access, question),
                                    verb_of(question.method), sink),
                           answer);
        asio::co_spawn(asio::make_strand(context), std::move(work),
                       [&escaped](std::exception_ptr failed) { escaped = std::move(failed); });
        context.run();
    }
    if (escaped) {
        std::rethrow_exception(escaped);
    }
    return std::move(*answer);
}

std::string percent_encoded(std::string_view text)
{
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kHex[byte >> 4U];
            out += kHex[byte & 15U];
        }
    }
    return out;
}

}  // namespace llmproxy::cli::manage
